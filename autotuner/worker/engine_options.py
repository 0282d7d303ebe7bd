"""What an engine process is started with. It must not import torch: the front builds it too."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from autotuner.worker.settings import WorkerSettings

WeightDtype = Literal["auto", "float32", "bfloat16"]


@dataclass(frozen=True)
class EngineOptions:
    """Fixed for the life of one engine process; the live knobs are in `settings`.

    `model` is a folder with config.json and safetensors, as `weights.resolve_model` returns it.
    `weight_dtype` "auto" is bfloat16 where the device has bf16 units and float32 elsewhere.
    `max_model_len` bounds prompt plus answer (tokens); it is cut to what the model was made for.
    `kv_cache_gib` bounds the KV cache; on a CPU its memory is taken only as it fills.
    `seed` is the seed of requests that bring none of their own. A `generation` of the initial
    settings of 1 is the first of a boot.
    """

    model: Path
    weight_dtype: WeightDtype = "auto"
    device: str = "cpu"
    kv_cache_gib: float = 4.0
    max_model_len: int = 2048
    num_threads: int = 1
    seed: int = 0
    settings: WorkerSettings = field(default_factory=WorkerSettings)
    generation: int = 1
