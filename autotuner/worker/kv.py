"""The paged KV cache's memory; who owns which block is not known here."""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass

import torch
from torch import Tensor

from autotuner.worker.attention_inputs import BLOCK_TOKENS
from autotuner.worker.huge_pages import huge_zeros
from autotuner.worker.kv_layout import block_count


@dataclass(frozen=True)
class KVShape:
    """What one layer keeps of a token: `heads` keys of `key_dim` and values of `value_dim`.

    `values_in_keys`: the values are the first `value_dim` numbers of the keys and are not stored a
    second time (the latent of multi-head latent attention).
    """

    layers: int
    heads: int
    key_dim: int
    value_dim: int
    values_in_keys: bool = False

    @property
    def numbers_per_token(self) -> int:
        """Of all layers together."""
        width = self.key_dim + (0 if self.values_in_keys else self.value_dim)
        return self.layers * self.heads * width


@dataclass(frozen=True)
class LayerCache:
    """One layer's K and V: [tokens, heads, dim], token t of block b in row b * BLOCK_TOKENS + t.

    `signs` [tokens, heads, key_dim / 8] uint8 holds the sign bits of the keys, packed, lowest bit
    first, for top_k's cheap score; only ops that use it write it.
    """

    keys: Tensor
    values: Tensor
    signs: Tensor


class KVCache:
    """`blocks` blocks for every layer, zero at first.

    The memory is finite everywhere, because masked attention may still read it: a NaN there would
    survive the mask.
    """

    def __init__(
        self, shape: KVShape, blocks: int, dtype: torch.dtype, device: torch.device
    ) -> None:
        self.shape, self.blocks = shape, blocks
        self.layers = [self._layer(dtype, device) for _ in range(shape.layers)]

    def clear(self, blocks: list[int]) -> None:
        """Zeroes blocks, after a sequence that went through not-a-number."""
        rows = torch.tensor(blocks, dtype=torch.int64) * BLOCK_TOKENS
        rows = (rows[:, None] + torch.arange(BLOCK_TOKENS)).view(-1)
        for layer in self.layers:
            layer.keys[rows.to(layer.keys.device)] = 0
            layer.values[rows.to(layer.keys.device)] = 0

    def _layer(self, dtype: torch.dtype, device: torch.device) -> LayerCache:
        shape, tokens = self.shape, self.blocks * BLOCK_TOKENS
        keys = _zeros((tokens, shape.heads, shape.key_dim), dtype, device)
        if shape.values_in_keys:
            values = keys[..., : shape.value_dim]
        else:
            values = _zeros((tokens, shape.heads, shape.value_dim), dtype, device)
        signs = _zeros((tokens, shape.heads, (shape.key_dim + 7) // 8), torch.uint8, device)
        return LayerCache(keys, values, signs)


def blocks_for(shape: KVShape, max_model_len: int, kv_cache_gib: float, dtype: torch.dtype) -> int:
    """Blocks that the budget holds; at least the scratch block and one sequence of full length."""
    least = 1 + block_count(max_model_len)
    block_bytes = shape.numbers_per_token * dtype.itemsize * BLOCK_TOKENS
    return max(least, int(kv_cache_gib * 2**30) // block_bytes)


def _zeros(shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Zeros; on a CPU the pages of an anonymous map, which take memory only once written to."""
    if device.type != "cpu":
        return torch.zeros(shape, dtype=dtype, device=device)
    numbers = math.prod(shape)
    size = numbers * dtype.itemsize
    if size > sys.maxsize:
        raise MemoryError(f"a KV cache of {size} bytes is more than any memory: lower kv_cache_gib")
    return huge_zeros(numbers, dtype).view(shape)  # attention reads megabytes
