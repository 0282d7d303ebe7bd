"""From a model folder to the decoder of one rank."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from autotuner.worker.adapters.merge import merged_tensors
from autotuner.worker.decoder import Decoder
from autotuner.worker.kv import KVShape
from autotuner.worker.linear import Linear, make_linear
from autotuner.worker.model_config import ModelConfig
from autotuner.worker.models.deepseek import build_deepseek
from autotuner.worker.models.latent_attention import latent_kv_shape
from autotuner.worker.models.llama import build_llama, grouped_kv_shape
from autotuner.worker.models.parts import LinearFactory, Source
from autotuner.worker.ops.interface import Ops
from autotuner.worker.sharding import WHOLE, Shard
from autotuner.worker.weights import TensorFiles


def plain_factory(
    name: str,  # noqa: ARG001 (what other factories need)
    weight: Tensor,
    bias: Tensor | None,
    inputs: slice,  # noqa: ARG001
) -> Linear:
    """Weights as they are."""
    return make_linear(weight, bias)


def load_decoder(
    folder: Path,
    dtype: torch.dtype,
    device: torch.device,
    max_len: int,
    ops: Ops,
    shard: Shard = WHOLE,
    linears: LinearFactory = plain_factory,
    adapter: Path | None = None,
) -> Decoder:
    """The rank's part of the model of `folder`, changed by the adapter of that folder if one is
    given; raises ModelError.
    """
    config = ModelConfig.from_folder(folder)
    tensors = TensorFiles(folder) if adapter is None else merged_tensors(folder, adapter)
    source = Source(tensors, dtype, device, linears)
    build = build_llama if config.latent is None else build_deepseek
    return build(config, source, shard, ops, max_len)


def kv_shape(config: ModelConfig, shard: Shard = WHOLE) -> KVShape:
    """What a rank keeps of a token."""
    return (grouped_kv_shape if config.latent is None else latent_kv_shape)(config, shard)
