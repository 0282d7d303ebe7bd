"""Who runs a batch: this process alone, or a group of ranks behind the same call."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from autotuner.worker.decoder import Batch, Decoder
from autotuner.worker.kv import KVCache


class Executor(Protocol):
    """Runs forward passes over a model and its cache, wherever their parts are."""

    @property
    def weight_bytes(self) -> int:
        """What the model's weights take in memory, over all ranks."""
        ...

    @property
    def ops_name(self) -> str:
        """Which implementation of the small operations runs."""
        ...

    @property
    def batch_device(self) -> torch.device:
        """Where `forward` wants a batch's tensors."""
        ...

    def forward(self, batch: Batch) -> Tensor:
        """Logits [len(logits_rows), vocab_size] on the caller's device."""
        ...

    def clear(self, blocks: list[int]) -> None:
        """Zeroes these blocks of the cache."""
        ...

    def close(self) -> None:
        """Ends what the executor started; safe to call twice."""
        ...


class LocalExecutor:
    """The whole model in this process."""

    def __init__(self, decoder: Decoder, cache: KVCache) -> None:
        self._decoder, self._cache = decoder, cache
        self.weight_bytes = decoder.weight_bytes
        self.ops_name = decoder.ops.name
        self.batch_device = decoder.device

    def forward(self, batch: Batch) -> Tensor:
        return self._decoder.forward(batch, self._cache)

    def clear(self, blocks: list[int]) -> None:
        self._cache.clear(blocks)

    def close(self) -> None:
        pass
