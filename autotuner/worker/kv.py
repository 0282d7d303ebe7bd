"""The slot KV cache's memory; who owns which slot is not known here."""

from __future__ import annotations

import mmap

import torch
from torch import Tensor

from autotuner.worker.model_config import ModelConfig

MAX_SLOTS = 256


def slots_for(
    config: ModelConfig, max_model_len: int, kv_cache_gib: float, dtype: torch.dtype
) -> int:
    """How many sequences of `max_model_len` tokens the budget holds, from 1 to MAX_SLOTS."""
    slot_bytes = config.kv_bytes_per_token * dtype.itemsize * max_model_len
    return max(1, min(MAX_SLOTS, int(kv_cache_gib * 2**30) // slot_bytes))


class KVCache:
    """K and V of every layer: [layers, 2, slots, kv_heads, max_len, head_dim], zero at first.

    The memory is finite everywhere, because attention masks positions that it still reads: a NaN
    there would survive the mask.
    """

    def __init__(
        self,
        config: ModelConfig,
        slots: int,
        max_len: int,
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        shape = (config.num_layers, 2, slots, config.num_kv_heads, max_len, config.head_dim)
        self.slots, self.max_len, self.kv_heads = slots, max_len, config.num_kv_heads
        self._data = _zeros(shape, dtype, device)
        self.keys = [layer[0] for layer in self._data]
        self.values = [layer[1] for layer in self._data]
        self.flat_keys = [k.view(-1, config.head_dim) for k in self.keys]
        self.flat_values = [v.view(-1, config.head_dim) for v in self.values]

    def flat_rows(self, slots: Tensor, positions: Tensor) -> Tensor:
        """Rows of flat_keys and flat_values that hold the tokens: [tokens * kv_heads]."""
        heads = torch.arange(self.kv_heads, device=slots.device)
        first = slots[:, None] * self.kv_heads + heads
        return (first * self.max_len + positions[:, None]).view(-1)

    def clear(self, slot: int) -> None:
        """Zeroes a slot, after a sequence that went through not-a-number."""
        self._data[:, :, slot] = 0


def _zeros(shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Zeros; on a CPU the pages of an anonymous map, which take memory only once written to."""
    if device.type != "cpu":
        return torch.zeros(shape, dtype=dtype, device=device)
    pages = mmap.mmap(-1, torch.Size(shape).numel() * dtype.itemsize)
    return torch.frombuffer(pages, dtype=dtype).view(shape)
