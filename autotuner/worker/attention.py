"""Attention over the slot cache: one call per run of single rows, one per prefill chunk.

Queries are a flat [tokens, heads, head_dim]; single rows come first, ordered by slot.
Grouped-query attention is done without repeating K or V.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from autotuner.worker.kv_slots import SlotRun, plan_runs

MIN_ROWS_FOR_MATMUL = 4
QUERY_BLOCK = 128  # measured: 64 to 256 are level


@dataclass(frozen=True)
class RowRun:
    """Single rows [first, last) of the batch over the slots of `slots`.

    `mask` is [slots, 1, 1, max_len], 0 or -inf, None when all rows are as long. Where slots of the
    run have no row, `spread` names a row for each slot and `pick` the slots that have one.
    """

    slots: SlotRun
    first: int
    last: int
    mask: Tensor | None
    spread: Tensor | None
    pick: Tensor | None


@dataclass(frozen=True)
class ChunkSpan:
    """Tokens [first, last) of the batch: a chunk of one prompt that ends at `length` tokens.

    `mask` is [chunk, length], 0 or -inf; None when the chunk starts its prompt (plainly causal).
    """

    slot: int
    first: int
    last: int
    length: int
    mask: Tensor | None


@dataclass(frozen=True)
class AttentionPlan:
    runs: list[RowRun]
    chunks: list[ChunkSpan]


def plan_attention(
    singles: Sequence[tuple[int, int]],
    chunks: Sequence[tuple[int, int, int]],
    dtype: torch.dtype,
    device: torch.device,
) -> AttentionPlan:
    """The calls for singles (slot, length), ordered by slot, and chunks (slot, start, tokens)."""
    runs: list[RowRun] = []
    first = 0
    for run in plan_runs(singles):
        last = first
        while last < len(singles) and singles[last][0] < run.hi:
            last += 1
        runs.append(_row_run(run, first, singles[first:last], dtype, device))
        first = last
    spans: list[ChunkSpan] = []
    for slot, start, tokens in chunks:
        mask = _causal_mask(start, tokens, dtype, device) if start else None
        spans.append(ChunkSpan(slot, first, first + tokens, start + tokens, mask))
        first += tokens
    return AttentionPlan(runs, spans)


def attend(q: Tensor, k: Tensor, v: Tensor, plan: AttentionPlan) -> Tensor:
    """Attention of a layer, as [tokens, heads * head_dim].

    Of q [tokens, heads, head_dim], and k and v [slots, kv_heads, max_len, head_dim].
    """
    parts = [_attend_run(q, k, v, run) for run in plan.runs]
    parts += [_attend_chunk(q, k, v, chunk) for chunk in plan.chunks]
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def _attend_run(q: Tensor, k: Tensor, v: Tensor, run: RowRun) -> Tensor:
    _, heads, head_dim = q.shape
    kv_heads = k.shape[1]
    rows = q[run.first : run.last] if run.spread is None else q.index_select(0, run.spread)
    query = rows.reshape(-1, kv_heads, heads // kv_heads, head_dim)
    lo, hi, length = run.slots.lo, run.slots.hi, run.slots.max_len
    out = _attend_rows(query, k[lo:hi, :, :length], v[lo:hi, :, :length], run.mask)
    flat = out.reshape(-1, heads * head_dim)
    return flat if run.pick is None else flat.index_select(0, run.pick)


def _attend_rows(query: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
    """One query token a slot, the heads of a group as rows: [slots, kv_heads, group, head_dim].

    CPU place: for bfloat16, torch's fused kernel takes 0.80 ms a layer for 32 rows of 140 tokens
    and two matmuls with K on the left 0.45 ms (Zen 5, one thread).
    """
    if (
        query.device.type != "cpu"
        or query.dtype != torch.bfloat16
        or len(query) < MIN_ROWS_FOR_MATMUL
    ):
        return functional.scaled_dot_product_attention(query, k, v, attn_mask=mask)
    scaled = query * (query.shape[-1] ** -0.5)
    scores = torch.matmul(k, scaled.transpose(-1, -2)).transpose(-1, -2).float()
    if mask is not None:
        scores += mask
    return torch.matmul(torch.softmax(scores, -1).to(v.dtype), v)


def _attend_chunk(q: Tensor, k: Tensor, v: Tensor, chunk: ChunkSpan) -> Tensor:
    if q.device.type == "cpu" and q.dtype == torch.bfloat16:
        return _attend_chunk_in_blocks(q, k, v, chunk)
    _, heads, head_dim = q.shape
    kv_heads = k.shape[1]
    group = heads // kv_heads
    shape = (kv_heads, group, chunk.length, head_dim)
    query = q[chunk.first : chunk.last].view(-1, kv_heads, group, head_dim).permute(1, 2, 0, 3)
    out = functional.scaled_dot_product_attention(
        query,
        k[chunk.slot, :, None, : chunk.length].expand(shape),
        v[chunk.slot, :, None, : chunk.length].expand(shape),
        attn_mask=chunk.mask,
        is_causal=chunk.mask is None,
    )
    return out.permute(2, 0, 1, 3).reshape(-1, heads * head_dim)


def _attend_chunk_in_blocks(q: Tensor, k: Tensor, v: Tensor, chunk: ChunkSpan) -> Tensor:
    """Blocks of queries, each over the keys that it may see, as two matmuls with a softmax between.

    CPU place: for bfloat16, torch's fused kernel takes 5.4 ms a layer for 95 tokens over 1,900 and
    106 ms for 2,000 from the start; this takes 2.2 and 27 ms (Zen 5, one thread).
    """
    _, heads, head_dim = q.shape
    kv_heads = k.shape[1]
    group = heads // kv_heads
    keys_of, values_of = k[chunk.slot], v[chunk.slot]
    ahead = torch.full((QUERY_BLOCK, QUERY_BLOCK), -torch.inf).triu_(1)
    parts = []
    for first in range(chunk.first, chunk.last, QUERY_BLOCK):
        last = min(first + QUERY_BLOCK, chunk.last)
        tokens, seen = last - first, chunk.length - (chunk.last - last)
        query = q[first:last].view(tokens, kv_heads, group, head_dim).permute(1, 2, 0, 3)
        rows = (query * (head_dim**-0.5)).reshape(kv_heads, group * tokens, head_dim)
        scores = torch.bmm(rows, keys_of[:, :seen].transpose(1, 2)).float()
        scores = scores.view(kv_heads, group, tokens, seen)
        scores[..., seen - tokens :] += ahead[:tokens, :tokens]
        weights = torch.softmax(scores, -1).to(v.dtype).view(kv_heads, group * tokens, seen)
        out = torch.bmm(weights, values_of[:, :seen])
        parts.append(out.view(kv_heads, group, tokens, head_dim).permute(2, 0, 1, 3))
    return torch.cat(parts).reshape(-1, heads * head_dim)


def _row_run(
    run: SlotRun,
    first: int,
    rows: Sequence[tuple[int, int]],
    dtype: torch.dtype,
    device: torch.device,
) -> RowRun:
    # A hole attends to its slot's first token; its result is dropped.
    lengths, spread = [1] * (run.hi - run.lo), [first] * (run.hi - run.lo)
    for offset, (slot, length) in enumerate(rows):
        lengths[slot - run.lo], spread[slot - run.lo] = length, first + offset
    last = first + len(rows)
    mask = _length_mask(lengths, run.max_len, dtype, device) if min(lengths) < run.max_len else None
    if len(rows) == len(lengths):
        return RowRun(run, first, last, mask, None, None)
    pick = [slot - run.lo for slot, _ in rows]
    return RowRun(
        run,
        first,
        last,
        mask,
        torch.tensor(spread, device=device),
        torch.tensor(pick, device=device),
    )


def _length_mask(
    lengths: Sequence[int], max_len: int, dtype: torch.dtype, device: torch.device
) -> Tensor:
    beyond = torch.arange(max_len, device=device) >= torch.tensor(lengths, device=device)[:, None]
    mask = torch.zeros(beyond.shape, dtype=dtype, device=device).masked_fill_(beyond, -torch.inf)
    return mask[:, None, None, :]


def _causal_mask(start: int, tokens: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    mask = torch.full((tokens, start + tokens), -torch.inf, dtype=dtype, device=device)
    return mask.triu_(start + 1)
