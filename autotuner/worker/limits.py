"""What an engine can hold, from its model and its machine: the upper bounds of the knobs."""

from __future__ import annotations

import os

import torch

from autotuner.worker.engine_options import EngineOptions
from autotuner.worker.model_config import ModelConfig
from autotuner.worker.model_part import kv_blocks, model_len
from autotuner.worker.settings import BASE, Limits

MAX_SEQS = 256


def limits_of(options: EngineOptions, config: ModelConfig) -> Limits:
    device = torch.device(options.device)
    places = _cores() if device.type == "cpu" else torch.cuda.device_count()
    return Limits(
        max_num_seqs=min(MAX_SEQS, kv_blocks(options, config, device) - 1),
        max_model_len=model_len(options, config),
        max_tensor_parallel=config.num_heads if config.latent else config.num_kv_heads,
        max_pipeline_parallel=config.num_layers,
        max_ranks=options.max_ranks or places,
        max_threads=_cores() if device.type == "cpu" else 1,
        weights=_weights(options),
    )


def _weights(options: EngineOptions) -> tuple[str, ...]:
    """Those that an engine knows; which others there are the front sees for itself."""
    if options.adapters is None:
        return ()
    return tuple(dict.fromkeys((BASE, options.settings.weights)))


def _cores() -> int:
    """Cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
