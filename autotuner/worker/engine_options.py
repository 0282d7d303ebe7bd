"""What an engine group is started with. It must not import torch: the front builds it too."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from autotuner.worker.settings import WorkerSettings


@dataclass(frozen=True)
class EngineOptions:
    """Fixed for the life of one engine process; the knobs are in `settings`.

    `model` is a folder with config.json and safetensors, as `weights.resolve_model` returns it.
    `max_model_len` bounds prompt plus answer (tokens); it is cut to what the model was made for.
    `kv_cache_gib` bounds the KV cache of one replica; on a CPU its memory is taken only as it
    fills. `max_ranks` bounds the processes of all replicas; None is one per core, or per GPU.
    `seed` is the seed of requests that bring none of their own. `replica` numbers the engines of a
    data-parallel group. A `generation` of the initial settings of 1 is the first of a boot.
    """

    model: Path
    device: str = "cpu"
    kv_cache_gib: float = 4.0
    max_model_len: int = 2048
    max_ranks: int | None = None
    prefix_caching: bool = True
    seed: int = 0
    replica: int = 0
    settings: WorkerSettings = field(default_factory=WorkerSettings)
    generation: int = 1
