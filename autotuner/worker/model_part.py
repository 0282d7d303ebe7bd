"""What one rank builds: its part of the model and of the KV cache, on its device."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from autotuner.worker.decoder import Decoder
from autotuner.worker.dtypes import activation_dtype
from autotuner.worker.engine_options import EngineOptions
from autotuner.worker.kv import KVCache, blocks_for
from autotuner.worker.linear_kinds import linear_factory
from autotuner.worker.model_config import ModelConfig
from autotuner.worker.models.load import kv_shape, load_decoder
from autotuner.worker.ops.choose import ops_for
from autotuner.worker.ops.cuda import cuda_ops
from autotuner.worker.ops.interface import Ops
from autotuner.worker.sharding import WHOLE, Shard


@dataclass(frozen=True)
class ModelPart:
    decoder: Decoder
    cache: KVCache


def build_part(
    options: EngineOptions, config: ModelConfig, device: torch.device, shard: Shard = WHOLE
) -> ModelPart:
    """Loads the rank's weights and sets its torch threads; raises ModelError."""
    settings = options.settings
    torch.set_num_threads(settings.num_threads)
    dtype = activation_dtype(settings.weight_dtype, device)
    decoder = load_decoder(
        options.model,
        dtype,
        device,
        model_len(options, config),
        _ops(options, config, device, dtype, shard),
        shard,
        linear_factory(options.model, settings.weight_dtype, options.adapter),
        options.adapter,
    )
    blocks = kv_blocks(options, config, device)
    return ModelPart(decoder, KVCache(decoder.kv_shape, blocks, dtype, device))


def _ops(
    options: EngineOptions,
    config: ModelConfig,
    device: torch.device,
    dtype: torch.dtype,
    shard: Shard,
) -> Ops:
    if device.type == "cpu":
        return ops_for(device, options.settings.num_threads)
    shape = kv_shape(config, shard)
    group = config.num_heads // config.num_kv_heads
    return cuda_ops(shape, shape.heads * group, dtype, device)


def model_len(options: EngineOptions, config: ModelConfig) -> int:
    """Most tokens of prompt and answer: as asked, but no more than the model was made for."""
    return min(options.max_model_len, config.max_model_len)


def kv_blocks(options: EngineOptions, config: ModelConfig, device: torch.device) -> int:
    """Blocks of the whole model's KV cache; each rank holds its heads and layers of all of them."""
    dtype = activation_dtype(options.settings.weight_dtype, device)
    shape = kv_shape(config, WHOLE)
    return blocks_for(shape, model_len(options, config), options.kv_cache_gib, dtype)
