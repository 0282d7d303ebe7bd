"""Batches as a step makes them, without sequences."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

import torch

from autotuner.worker.attention_inputs import BLOCK_TOKENS, AttentionInputs, Span
from autotuner.worker.decoder import Batch
from autotuner.worker.settings import AttentionMode


def make(
    rows: Sequence[tuple[int, int]],
    mode: AttentionMode = "full",
    wanted: Sequence[int] | None = None,
) -> Batch:
    """Of each sequence (new tokens, tokens after them), singles first; blocks are numbered on."""
    counts, lengths = [count for count, _ in rows], [length for _, length in rows]
    starts = list(accumulate(counts, initial=0))
    singles = sum(count == 1 for count in counts)
    needed = [-(-length // BLOCK_TOKENS) for length in lengths]
    table = torch.zeros(len(rows), max(needed), dtype=torch.int32)
    first_block = 1
    for row, blocks in zip(table, needed, strict=True):
        row[:blocks] = torch.arange(first_block, first_block + blocks)
        first_block += blocks
    positions = [p for c, n in rows for p in range(n - c, n)]
    owner = [i for i, count in enumerate(counts) for _ in range(count)]
    cache_rows = [
        int(table[i, p // BLOCK_TOKENS]) * BLOCK_TOKENS + p % BLOCK_TOKENS
        for i, p in zip(owner, positions, strict=True)
    ]
    last_rows = [start - 1 for start in starts[1:]]
    return Batch(
        token_ids=torch.arange(100, 100 + starts[-1]),
        positions=torch.tensor(positions),
        cache_rows=torch.tensor(cache_rows),
        logits_rows=torch.tensor(last_rows if wanted is None else wanted, dtype=torch.int64),
        attention=AttentionInputs(
            mode=mode,
            block_table=table,
            lengths=torch.tensor(lengths, dtype=torch.int32),
            query_starts=torch.tensor(starts, dtype=torch.int32),
            singles=singles,
            chunks=tuple(
                Span(i, starts[i], starts[i + 1], lengths[i]) for i in range(singles, len(rows))
            ),
            max_length=max(lengths),
            max_rows=max(counts),
        ),
    )


def seen(batch: Batch) -> list[tuple[int, ...]]:
    """Of every row: token, position, cache row, what attention is told, and the blocks it reads."""
    inputs = batch.attention
    told: list[tuple[int, ...]] = []
    for i in range(len(inputs.lengths)):
        first, last = int(inputs.query_starts[i]), int(inputs.query_starts[i + 1])
        for row in range(first, last):
            length = int(inputs.lengths[i]) - (last - 1 - row)
            blocks = inputs.block_table[i, : -(-length // BLOCK_TOKENS)].tolist()
            told.append((*_row(batch, row), length, *blocks))
    return told


def seen_by_span(batch: Batch) -> list[tuple[int, ...]]:
    """The same of chunks' rows, from the spans instead of the tensors."""
    inputs = batch.attention
    told: list[tuple[int, ...]] = []
    for span in inputs.chunks:
        for row in range(span.first, span.last):
            length = span.length - (span.last - 1 - row)
            blocks = inputs.block_table[span.sequence, : -(-length // BLOCK_TOKENS)].tolist()
            told.append((*_row(batch, row), length, *blocks))
    return told


def _row(batch: Batch, row: int) -> tuple[int, int, int]:
    return (int(batch.token_ids[row]), int(batch.positions[row]), int(batch.cache_rows[row]))
