"""Steps over a paged cache for the tests, and attention written token by token in float64."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from autotuner.worker.attention_inputs import (
    BLOCK_TOKENS,
    SCRATCH_BLOCK,
    TOP_KEYS,
    WINDOW_TOKENS,
    AttentionInputs,
    Span,
)
from autotuner.worker.kv import KVCache, KVShape, LayerCache
from autotuner.worker.settings import AttentionMode

DTYPES = (torch.float32, torch.bfloat16)


@dataclass(frozen=True)
class Heads:
    """`values_in_keys`: as KVShape says."""

    heads: int
    kv_heads: int
    key_dim: int
    value_dim: int
    values_in_keys: bool = False


SMOLLM = Heads(9, 3, 64, 64)
QWEN = Heads(14, 2, 64, 64)
LATENT = Heads(16, 1, 576, 512, values_in_keys=True)
ODD = Heads(4, 2, 24, 20)  # no multiple of a vector's width
SHAPES = {"smollm": SMOLLM, "qwen": QWEN, "latent": LATENT, "odd": ODD}


@dataclass(frozen=True)
class Case:
    """One call of `attend`."""

    q: Tensor
    cache: LayerCache
    inputs: AttentionInputs
    scale: float

    def with_mode(self, mode: AttentionMode) -> Case:
        return replace(self, inputs=replace(self.inputs, mode=mode))


def make_case(
    shape: Heads,
    sequences: Sequence[tuple[int, int]],
    dtype: torch.dtype = torch.float32,
    mode: AttentionMode = "full",
    padded_rows: int = 0,
    seed: int = 0,
) -> Case:
    """Random numbers and shuffled blocks for sequences of (tokens, of these the step's rows).

    `padded_rows` single rows more read the scratch block. The cache is filled, signs as well.
    """
    random = torch.Generator().manual_seed(seed)
    sequences = sorted(sequences, key=lambda sequence: sequence[1] > 1)
    singles = [sequence for sequence in sequences if sequence[1] == 1]
    needed = [-(-tokens // BLOCK_TOKENS) for tokens, _ in sequences]
    order = (torch.randperm(sum(needed), generator=random) + 1).tolist()
    cache = filled_cache(shape, sum(needed) + 1, dtype, random)
    owned = [[order.pop() for _ in range(count)] for count in needed]
    at = len(singles)
    everyone = sequences[:at] + [(1, 1)] * padded_rows + sequences[at:]
    owned = owned[:at] + [[SCRATCH_BLOCK]] * padded_rows + owned[at:]
    inputs = make_inputs(everyone, owned, mode)
    rows = sum(count for _, count in everyone)
    q = torch.randn(rows, shape.heads, shape.key_dim, generator=random).to(dtype)
    return Case(q, cache, inputs, shape.key_dim**-0.5)


def filled_cache(
    shape: Heads, blocks: int, dtype: torch.dtype, random: torch.Generator
) -> LayerCache:
    kv_shape = KVShape(1, shape.kv_heads, shape.key_dim, shape.value_dim, shape.values_in_keys)
    cache = KVCache(kv_shape, blocks, dtype, torch.device("cpu")).layers[0]
    cache.keys.copy_(torch.randn(cache.keys.shape, generator=random))
    if not shape.values_in_keys:
        cache.values.copy_(torch.randn(cache.values.shape, generator=random))
    write_signs(cache)
    return cache


def write_signs(cache: LayerCache) -> None:
    """The contract of `LayerCache.signs`, bit by bit."""
    cache.signs.zero_()
    for number in range(cache.keys.shape[-1]):
        bit = torch.signbit(cache.keys[..., number]).to(torch.uint8) << (number % 8)
        cache.signs[..., number // 8] |= bit


def make_inputs(
    sequences: Sequence[tuple[int, int]], blocks: Sequence[Sequence[int]], mode: AttentionMode
) -> AttentionInputs:
    """Of sequences of (tokens, rows) in row order, each with its blocks."""
    starts = [0]
    for _, rows in sequences:
        starts.append(starts[-1] + rows)
    width = max(map(len, blocks))
    table = [[*owned, *[SCRATCH_BLOCK] * (width - len(owned))] for owned in blocks]
    singles = sum(rows == 1 for _, rows in sequences)
    return AttentionInputs(
        mode=mode,
        block_table=torch.tensor(table, dtype=torch.int32),
        lengths=torch.tensor([tokens for tokens, _ in sequences], dtype=torch.int32),
        query_starts=torch.tensor(starts, dtype=torch.int32),
        singles=singles,
        chunks=tuple(
            Span(index, starts[index], starts[index + 1], sequences[index][0])
            for index in range(singles, len(sequences))
        ),
        max_length=max(tokens for tokens, _ in sequences),
        max_rows=max(rows for _, rows in sequences),
    )


@dataclass(frozen=True)
class Expected:
    """What attention gives, [tokens, heads * value_dim] float64; `size` is the same of the values'
    magnitudes: what rounding errors are relative to.
    """

    out: Tensor
    size: Tensor


def attention_by_token(case: Case) -> Expected:
    """The formula of `interface.Ops.attend`, row by row and head by head."""
    out, size = [], []
    for row, (sequence, seen) in enumerate(_rows(case.inputs)):
        blocks = case.inputs.block_table[sequence].tolist()
        places = [blocks[t // BLOCK_TOKENS] * BLOCK_TOKENS + t % BLOCK_TOKENS for t in range(seen)]
        keys, values = case.cache.keys[places].double(), case.cache.values[places].double()
        group = case.q.shape[1] // keys.shape[1]
        for head in range(case.q.shape[1]):
            query, key = case.q[row, head].double(), keys[:, head // group]
            kept = _kept(query, key, case.inputs.mode)
            weights = torch.softmax(key[kept] @ query * case.scale, 0)
            value = values[kept, head // group]
            out.append(weights @ value)
            size.append(weights @ value.abs())
    rows = len(case.q)
    return Expected(torch.stack(out).view(rows, -1), torch.stack(size).view(rows, -1))


def _rows(inputs: AttentionInputs) -> list[tuple[int, int]]:
    """Of each row its sequence and how many tokens it sees."""
    lengths = inputs.lengths.tolist()
    rows = [(index, lengths[index]) for index in range(inputs.singles)]
    for span in inputs.chunks:
        count = span.last - span.first
        rows += [(span.sequence, span.length - count + 1 + i) for i in range(count)]
    return rows


def _kept(query: Tensor, keys: Tensor, mode: AttentionMode) -> list[int]:
    positions = list(range(len(keys)))
    if mode == "sliding_window":
        return positions[-WINDOW_TOKENS:]
    if mode == "top_k":
        signs = 1.0 - 2.0 * torch.signbit(keys).double()
        scores = (signs @ query).tolist()
        best = sorted(positions, key=lambda position: (-scores[position], position))
        return sorted(best[:TOP_KEYS])
    return positions
