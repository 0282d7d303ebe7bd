"""What the leader tells its ranks in a step: one message of int32 numbers, nothing pickled."""

from __future__ import annotations

from enum import IntEnum

import numpy as np
import torch

from autotuner.worker.attention_inputs import AttentionInputs, Span
from autotuner.worker.decoder import Batch
from autotuner.worker.settings import ATTENTION_MODES

HEADER_NUMBERS = 10
SPAN_NUMBERS = 4


class Kind(IntEnum):
    """The first number of a message."""

    FORWARD = 0
    CLEAR = 1


def kind_of(message: bytes) -> Kind:
    return Kind(int(np.frombuffer(message, np.int32, 1)[0]))


def pack_blocks(blocks: list[int]) -> bytes:
    """The order to zero these blocks."""
    return np.array([Kind.CLEAR, *blocks], np.int32).tobytes()


def unpack_blocks(message: bytes) -> list[int]:
    """The blocks of `pack_blocks`."""
    blocks: list[int] = np.frombuffer(message, np.int32)[1:].tolist()
    return blocks


def pack_batch(batch: Batch) -> bytes:
    """The order to run the batch, which may be on any device: one copy brings it to the host."""
    inputs = batch.attention
    sequences, blocks = inputs.block_table.shape
    header = (
        Kind.FORWARD,
        ATTENTION_MODES.index(inputs.mode),
        inputs.singles,
        inputs.max_length,
        inputs.max_rows,
        len(batch.token_ids),
        len(batch.logits_rows),
        sequences,
        blocks,
        len(inputs.chunks),
    )
    spans = [n for s in inputs.chunks for n in (s.sequence, s.first, s.last, s.length)]
    tensors = (
        batch.token_ids,
        batch.positions,
        batch.cache_rows,
        batch.logits_rows,
        inputs.block_table.flatten(),
        inputs.lengths,
        inputs.query_starts,
    )
    body = torch.cat([tensor.to(torch.int32) for tensor in tensors]).cpu().numpy()
    return np.concatenate([np.array([*header, *spans], np.int32), body]).tobytes()


def unpack_batch(message: bytes) -> Batch:
    """The batch of `pack_batch`, on the host."""
    numbers = np.frombuffer(message, np.int32)
    _, mode, singles, max_length, max_rows, *counts = numbers[:HEADER_NUMBERS].tolist()
    tokens, wanted, sequences, blocks, chunks = counts
    body_at = HEADER_NUMBERS + SPAN_NUMBERS * chunks
    spans = numbers[HEADER_NUMBERS:body_at].reshape(chunks, SPAN_NUMBERS).tolist()
    lengths_of_parts = [tokens] * 3 + [wanted, sequences * blocks, sequences, sequences + 1]
    body = torch.split(torch.from_numpy(numbers[body_at:].copy()), lengths_of_parts)
    token_ids, positions, cache_rows, logits_rows, table, lengths, query_starts = body
    return Batch(
        token_ids=token_ids.long(),
        positions=positions.long(),
        cache_rows=cache_rows.long(),
        logits_rows=logits_rows.long(),
        attention=AttentionInputs(
            mode=ATTENTION_MODES[mode],
            block_table=table.view(sequences, blocks),
            lengths=lengths,
            query_starts=query_starts,
            singles=singles,
            chunks=tuple(Span(*span) for span in spans),
            max_length=max_length,
            max_rows=max_rows,
        ),
    )
