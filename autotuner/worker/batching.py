"""From a step's plan to the tensors that one forward pass reads; no decoder, no queue."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

import numpy as np
import torch
from torch import Tensor

from autotuner.worker.attention_inputs import (
    BLOCK_TOKENS,
    SCRATCH_BLOCK,
    AttentionInputs,
    Span,
)
from autotuner.worker.decoder import Batch
from autotuner.worker.kv_layout import block_count
from autotuner.worker.sequence import Chunk
from autotuner.worker.settings import AttentionMode


def in_row_order(chunks: Sequence[Chunk]) -> list[Chunk]:
    """Single tokens first, as AttentionInputs wants them; otherwise as they came."""
    return sorted(chunks, key=lambda chunk: chunk.count > 1)


def make_batch(
    chunks: Sequence[Chunk],
    mode: AttentionMode,
    device: torch.device,
    *,
    padded_singles: int = 0,
) -> Batch:
    """The batch of chunks, which must be in row order, with logits after their wanted tokens.

    Single rows are padded up to `padded_singles` with rows that live in the scratch block.
    """
    counts = [chunk.count for chunk in chunks]
    singles = next((i for i, count in enumerate(counts) if count > 1), len(counts))
    padding = max(0, padded_singles - singles)
    starts = [chunk.start for chunk in chunks]
    if padding:
        counts[singles:singles] = [1] * padding
        starts[singles:singles] = [0] * padding
    rows_before = np.fromiter(accumulate(counts, initial=0), np.int64, len(counts) + 1)
    table = _block_table(chunks, singles, padding)
    owner = np.repeat(np.arange(len(counts)), counts)
    positions = np.arange(len(owner)) - rows_before[:-1][owner] + np.array(starts)[owner]
    cache_rows = table[owner, positions // BLOCK_TOKENS] * BLOCK_TOKENS + positions % BLOCK_TOKENS
    lengths = np.array(starts) + np.array(counts)
    inputs = AttentionInputs(
        mode=mode,
        block_table=_to(table.astype(np.int32), device),
        lengths=_to(lengths.astype(np.int32), device),
        query_starts=_to(rows_before.astype(np.int32), device),
        singles=singles + padding,
        chunks=_spans(counts, rows_before, lengths, singles + padding),
        max_length=int(lengths.max()),
        max_rows=max(counts),
    )
    return Batch(
        token_ids=_to(_token_ids(chunks, singles, padding), device),
        positions=_to(positions, device),
        cache_rows=_to(cache_rows, device),
        logits_rows=_to(_wanted(chunks, singles, padding, rows_before), device),
        attention=inputs,
    )


def _block_table(chunks: Sequence[Chunk], singles: int, padding: int) -> np.ndarray:
    needed = [block_count(chunk.end) for chunk in chunks]
    table = np.full((len(chunks) + padding, max(needed)), SCRATCH_BLOCK, np.int64)
    for index, (chunk, blocks) in enumerate(zip(chunks, needed, strict=True)):
        row = index if index < singles else index + padding
        table[row, :blocks] = chunk.sequence.blocks[:blocks]
    return table


def _token_ids(chunks: Sequence[Chunk], singles: int, padding: int) -> np.ndarray:
    ids: list[int] = [chunk.sequence.tokens[chunk.start] for chunk in chunks[:singles]]
    ids += [0] * padding
    for chunk in chunks[singles:]:
        ids += chunk.sequence.tokens[chunk.start : chunk.end]
    return np.array(ids, np.int64)


def _wanted(
    chunks: Sequence[Chunk], singles: int, padding: int, rows_before: np.ndarray
) -> np.ndarray:
    rows: list[int] = []
    for index, chunk in enumerate(chunks):
        first = int(rows_before[index if index < singles else index + padding])
        rows += range(
            first + chunk.wanted.start - chunk.start, first + chunk.wanted.stop - chunk.start
        )
    return np.array(rows, np.int64)


def _spans(
    counts: Sequence[int], rows_before: np.ndarray, lengths: np.ndarray, first_chunk: int
) -> tuple[Span, ...]:
    return tuple(
        Span(i, int(rows_before[i]), int(rows_before[i + 1]), int(lengths[i]))
        for i in range(first_chunk, len(counts))
    )


def _to(values: np.ndarray, device: torch.device) -> Tensor:
    """On a GPU by way of pinned memory, so that the copy does not hold up the host."""
    tensor = torch.from_numpy(values)
    if device.type == "cpu":
        return tensor
    return tensor.pin_memory().to(device, non_blocking=True)
