"""The operations in plain torch, for any device: the reference for every faster version.

Keys and values of a sequence are gathered from its blocks, once a call.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from autotuner.worker.attention_inputs import (
    BLOCK_TOKENS,
    TOP_KEYS,
    WINDOW_TOKENS,
    AttentionInputs,
    Span,
)
from autotuner.worker.kv import LayerCache
from autotuner.worker.kv_layout import block_count
from autotuner.worker.ops.rotary import rotate
from autotuner.worker.settings import AttentionMode

QUERY_BLOCK = 128  # queries of a chunk at a time: bounds the scores' memory; 64 to 256 are level


class ReferenceOps:
    """See `interface.Ops`."""

    name = "torch"

    def rms_norm(self, x: Tensor, weight: Tensor, eps: float) -> Tensor:
        return functional.rms_norm(x, (x.shape[-1],), weight, eps)

    def silu_mul(self, gate_up: Tensor) -> Tensor:
        width = gate_up.shape[-1] // 2
        return functional.silu(gate_up[:, :width]).mul_(gate_up[:, width:])

    def rotate_and_store(
        self, qkv: Tensor, cos: Tensor, sin: Tensor, heads: int, cache: LayerCache, rows: Tensor
    ) -> Tensor:
        kv_heads, dim = cache.keys.shape[1:]
        split = qkv.view(len(qkv), heads + 2 * kv_heads, dim)
        rotated = rotate(split[:, : heads + kv_heads], cos, sin)
        cache.keys.index_copy_(0, rows, rotated[:, heads:])
        cache.values.index_copy_(0, rows, split[:, heads + kv_heads :])
        return rotated[:, :heads]

    def attend(self, q: Tensor, cache: LayerCache, inputs: AttentionInputs, scale: float) -> Tensor:
        parts = [] if not inputs.singles else [_attend_singles(q, cache, inputs, scale)]
        parts += [_attend_chunk(q, cache, inputs, span, scale) for span in inputs.chunks]
        out = parts[0] if len(parts) == 1 else torch.cat(parts)
        return out.reshape(len(q), -1)


def _attend_singles(q: Tensor, cache: LayerCache, inputs: AttentionInputs, scale: float) -> Tensor:
    """One query a sequence, over all sequences padded to the longest: [singles, heads, dim]."""
    lengths = inputs.lengths[: inputs.singles]
    blocks = block_count(inputs.max_length)
    rows = _rows(inputs.block_table[: inputs.singles, :blocks])
    position = torch.arange(rows.shape[1], device=q.device)
    hidden = position >= lengths[:, None]
    # What lies behind a sequence's end may be not-a-number, which no mask would hide.
    behind = hidden[..., None, None]
    k = cache.keys[rows].masked_fill(behind, 0)  # [singles, padded, kv_heads, dim]
    v = cache.values[rows].masked_fill(behind, 0)
    query = _grouped(q[: inputs.singles], k.shape[2])  # [singles, kv_heads, group, dim]
    if inputs.mode == "sliding_window":
        hidden |= position < lengths[:, None] - WINDOW_TOKENS
    mask = _mask(hidden)[:, None, None]
    k, v = k.transpose(1, 2), v.transpose(1, 2)
    if inputs.mode == "top_k":
        mask = _keep_top(_cheap_scores(query, k) + mask)
    weights = _softmax(query, k, mask, scale)
    return torch.matmul(weights, v).flatten(1, 2)


def _attend_chunk(
    q: Tensor, cache: LayerCache, inputs: AttentionInputs, span: Span, scale: float
) -> Tensor:
    """Blocks of queries, each over the keys that it may see: [rows, heads, dim]."""
    blocks = block_count(span.length)
    rows = _rows(inputs.block_table[span.sequence, :blocks])[: span.length]
    keys = cache.keys[rows].transpose(0, 1).contiguous()  # [kv_heads, length, dim]
    values = cache.values[rows].transpose(0, 1).contiguous()
    parts = []
    for first in range(span.first, span.last, QUERY_BLOCK):
        last = min(first + QUERY_BLOCK, span.last)
        seen = span.length - (span.last - last)
        least = _first_seen(inputs.mode, seen - (last - first))
        query = _grouped(q[first:last], len(keys)).permute(1, 2, 0, 3)
        parts.append(
            _attend_block(query, keys[:, least:seen], values[:, least:seen], inputs.mode, scale)
        )
    return torch.cat(parts)


def _attend_block(query: Tensor, k: Tensor, v: Tensor, mode: AttentionMode, scale: float) -> Tensor:
    """Of query [kv_heads, group, rows, dim], whose last row sees the last key."""
    kv_heads, group, rows, _ = query.shape
    seen = k.shape[1]
    own = torch.arange(seen - rows, seen, device=query.device)[:, None]
    position = torch.arange(seen, device=query.device)
    hidden = position > own
    if mode == "sliding_window":
        hidden |= position <= own - WINDOW_TOKENS
    mask = _mask(hidden)
    if mode == "top_k":
        mask = _keep_top(_cheap_scores(query, k[:, None]) + mask)
        mask = mask.view(kv_heads, group * rows, seen)
    else:
        mask = mask.repeat(group, 1)
    weights = _softmax(query.reshape(kv_heads, group * rows, -1), k, mask, scale)
    out = torch.matmul(weights, v)
    return out.view(kv_heads, group, rows, -1).permute(2, 0, 1, 3).flatten(1, 2)


def _first_seen(mode: AttentionMode, first_row: int) -> int:
    return max(0, first_row - WINDOW_TOKENS + 1) if mode == "sliding_window" else 0


def _softmax(query: Tensor, k: Tensor, mask: Tensor, scale: float) -> Tensor:
    scores = torch.matmul(query * scale, k.transpose(-1, -2)).float()
    return torch.softmax(scores.add_(mask), -1).to(k.dtype)


def _cheap_scores(query: Tensor, k: Tensor) -> Tensor:
    """The score that top_k selects by, of every query and key."""
    signs = 1.0 - 2.0 * torch.signbit(k).to(torch.float32)
    return torch.matmul(query.float(), signs.transpose(-1, -2))


def _keep_top(scores: Tensor) -> Tensor:
    """0 for the TOP_KEYS greatest of the last dimension, -inf for the others; ties to the earlier.

    Scores of -inf stay hidden.
    """
    kept = torch.sort(scores, dim=-1, descending=True, stable=True).indices[..., :TOP_KEYS]
    mask = torch.full_like(scores, -torch.inf).scatter_(-1, kept, 0.0)
    return mask.masked_fill_(scores == -torch.inf, -torch.inf)


def _mask(hidden: Tensor) -> Tensor:
    return torch.zeros(hidden.shape, device=hidden.device).masked_fill_(hidden, -torch.inf)


def _grouped(q: Tensor, kv_heads: int) -> Tensor:
    return q.reshape(len(q), kv_heads, q.shape[1] // kv_heads, q.shape[2])


def _rows(block_table: Tensor) -> Tensor:
    """Cache rows of every token of the blocks, in order: [..., blocks * BLOCK_TOKENS]."""
    offsets = torch.arange(BLOCK_TOKENS, device=block_table.device)
    rows = block_table[..., None].long() * BLOCK_TOKENS + offsets
    return rows.flatten(-2)
