"""Cuts a step's batch into micro-batches, so that the stages of a pipeline work at the same time.

Only tensors on the host are read here; nothing of processes.
"""

from __future__ import annotations

from itertools import pairwise

import torch

from autotuner.worker.attention_inputs import AttentionInputs, Span
from autotuner.worker.decoder import Batch, map_tensors

# A micro-batch below this many tokens costs as much as a whole batch, because a stage's time is
# then that of reading its weights: cutting decode steps would only read them more often. It is
# where arithmetic takes as long as memory (FLOP/s over bytes/s): 45 tokens in bfloat16 on a CPU
# with matrix units, 14 in float32, about 300 on an H100.
LEAST_TOKENS = {"cpu": 64, "cuda": 384}
LEAST_PIECE = 2  # rows of a chunk: one row alone would be a single, which stand first


def micro_batches(tokens: int, stages: int, device_type: str) -> int:
    """How many micro-batches a batch of `tokens` is worth: 1 up to one per stage."""
    return max(1, min(stages, tokens // LEAST_TOKENS[device_type]))


def split_batch(batch: Batch, parts: int) -> list[Batch]:
    """Up to `parts` batches of about as many tokens, whose logits follow each other as in `batch`.

    A chunk may be cut: its later part attends to what the earlier wrote to the cache, so the parts
    must run in order. `logits_rows` must rise.
    """
    tokens = len(batch.token_ids)
    parts = min(parts, tokens // LEAST_PIECE)
    if parts <= 1:
        return [batch]
    cuts = _cuts(tokens, batch.attention.chunks, parts)
    return [_part(batch, first, last) for first, last in pairwise(cuts)]


def to_device(batch: Batch, device: torch.device) -> Batch:
    """The batch with its tensors on `device`."""
    if device.type == "cpu":
        return batch
    return map_tensors(batch, lambda tensor: tensor.to(device))


def _cuts(tokens: int, chunks: tuple[Span, ...], parts: int) -> list[int]:
    """The rows where parts begin, and the end."""
    inner = {_off_edges(part * tokens // parts, chunks) for part in range(1, parts)}
    return sorted(inner | {0, tokens})


def _off_edges(cut: int, chunks: tuple[Span, ...]) -> int:
    for span in chunks:
        if span.first < cut < span.last:
            if cut - span.first < LEAST_PIECE:
                return span.first
            if span.last - cut < LEAST_PIECE:
                return span.last
    return cut


def _part(batch: Batch, first: int, last: int) -> Batch:
    """Rows [first, last) as a batch of their own."""
    wanted = batch.logits_rows
    return Batch(
        token_ids=batch.token_ids[first:last],
        positions=batch.positions[first:last],
        cache_rows=batch.cache_rows[first:last],
        logits_rows=wanted[(wanted >= first) & (wanted < last)] - first,
        attention=_inputs(batch.attention, first, last),
    )


def _inputs(inputs: AttentionInputs, first: int, last: int) -> AttentionInputs:
    singles = range(min(first, inputs.singles), min(last, inputs.singles))
    spans = [span for span in inputs.chunks if span.first < last and span.last > first]
    sequences = [*singles, *(span.sequence for span in spans)]
    since, until = sequences[0], sequences[-1] + 1
    chunks = tuple(_clipped(span, first, last, since) for span in spans)
    lengths = inputs.lengths[since:until].clone()
    if chunks:
        lengths[-1] = chunks[-1].length
    return AttentionInputs(
        mode=inputs.mode,
        block_table=inputs.block_table[since:until],
        lengths=lengths,
        query_starts=(inputs.query_starts[since : until + 1] - first).clamp(0, last - first),
        singles=len(singles),
        chunks=chunks,
        max_length=int(lengths.max()),
        max_rows=max([1, *(span.last - span.first for span in chunks)]),
    )


def _clipped(span: Span, first: int, last: int, since: int) -> Span:
    """The span's rows within [first, last), of a batch that starts at sequence `since`."""
    return Span(
        sequence=span.sequence - since,
        first=max(span.first, first) - first,
        last=min(span.last, last) - first,
        length=span.length - max(0, span.last - last),
    )
