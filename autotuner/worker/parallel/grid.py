"""Where each rank of a group stands: its stage, its part of layers; nothing of processes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from autotuner.worker.settings import WorkerSettings
from autotuner.worker.sharding import Shard

LEADER = 0


@dataclass(frozen=True)
class Grid:
    """`tensor` ranks split each layer of `stages` stages; ranks are numbered by stage."""

    tensor: int
    stages: int

    @classmethod
    def of(cls, settings: WorkerSettings) -> Grid:
        return cls(settings.tensor_parallel_size, settings.pipeline_parallel_size)

    @property
    def size(self) -> int:
        """Ranks of the group."""
        return self.tensor * self.stages

    @property
    def speaker(self) -> int:
        """The rank of the last stage that hands the logits to the leader."""
        return (self.stages - 1) * self.tensor

    def stage(self, rank: int) -> int:
        return rank // self.tensor

    def stage_ranks(self, stage: int) -> range:
        """The ranks that share a stage's layers."""
        return range(stage * self.tensor, (stage + 1) * self.tensor)

    def shard(self, rank: int, reduce: Callable[[Tensor], Tensor] | None) -> Shard:
        return Shard(rank % self.tensor, self.tensor, self.stage(rank), self.stages, reduce)
