"""DeepSeek-V2 and V3: latent attention; the first layers have one MLP, the others experts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from autotuner.worker.decoder import Block, Decoder, Step
from autotuner.worker.kv import LayerCache
from autotuner.worker.model_config import ModelConfig
from autotuner.worker.models.experts import build_experts
from autotuner.worker.models.latent_attention import (
    LatentAttentionLayer,
    build_latent_attention,
    latent_kv_shape,
)
from autotuner.worker.models.mlp import build_mlp
from autotuner.worker.models.parts import Source
from autotuner.worker.models.stack import make_decoder
from autotuner.worker.ops.interface import Ops
from autotuner.worker.sharding import Shard


@dataclass(frozen=True)
class DeepSeekBlock:
    attention: LatentAttentionLayer
    mlp: Callable[[Tensor], Tensor]

    def __call__(self, hidden: Tensor, step: Step, cache: LayerCache) -> Tensor:
        return self.mlp(self.attention(hidden, step, cache))


def build_deepseek(
    config: ModelConfig, source: Source, shard: Shard, ops: Ops, max_len: int
) -> Decoder:
    """The rank's part of the model; raises ModelError for a missing tensor."""

    def block(index: int) -> Block:
        prefix = f"model.layers.{index}"
        assert config.experts is not None
        mlp: Callable[[Tensor], Tensor]
        if index < config.experts.first_layer:
            mlp = build_mlp(config, source, shard, ops, prefix)
        else:
            mlp = build_experts(config, source, shard, ops, prefix)
        return DeepSeekBlock(build_latent_attention(config, source, shard, ops, prefix), mlp)

    return make_decoder(config, source, shard, ops, max_len, latent_kv_shape(config, shard), block)
