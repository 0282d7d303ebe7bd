"""What an engine group is started with. It must not import torch: the front builds it too."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from autotuner.worker.model_config import ModelError
from autotuner.worker.settings import BASE, WorkerSettings


@dataclass(frozen=True)
class EngineOptions:
    """Fixed for the life of one engine process; the knobs are in `settings`.

    `model` is a folder with config.json and safetensors, as `weights.resolve_model` returns it.
    `adapters` is a folder with adapters of it, one in each subfolder.
    `max_model_len` bounds prompt plus answer (tokens); it is cut to what the model was made for.
    `kv_cache_gib` bounds the KV cache of one replica; on a CPU its memory is taken only as it
    fills. `max_ranks` bounds the processes of all replicas; None is one per core, or per GPU.
    `seed` is the seed of requests that bring none of their own. `replica` numbers the engines of a
    data-parallel group. A `generation` of the initial settings of 1 is the first of a boot.
    """

    model: Path
    adapters: Path | None = None
    device: str = "cpu"
    kv_cache_gib: float = 4.0
    max_model_len: int = 2048
    max_ranks: int | None = None
    prefix_caching: bool = True
    seed: int = 0
    replica: int = 0
    settings: WorkerSettings = field(default_factory=WorkerSettings)
    generation: int = 1

    @property
    def adapter(self) -> Path | None:
        """The folder of the adapter that the settings name; None for the model as it is.

        Raises ModelError where there are no adapters: on a machine of several, for instance.
        """
        name = self.settings.weights
        if name == BASE:
            return None
        if self.adapters is None:
            raise ModelError(f"weights={name!r}: give --adapters FOLDER, on every machine")
        return self.adapters / name
