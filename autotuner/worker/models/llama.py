"""Llama and Qwen2: grouped-query attention with rotary embedding, and a gated MLP."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from autotuner.worker.decoder import Block, Decoder, Step
from autotuner.worker.kv import KVShape, LayerCache
from autotuner.worker.linear import Linear
from autotuner.worker.model_config import ModelConfig
from autotuner.worker.models.mlp import GatedMlp, build_mlp
from autotuner.worker.models.parts import Residual, Source, has_bias
from autotuner.worker.models.stack import make_decoder
from autotuner.worker.ops.interface import Ops
from autotuner.worker.sharding import Shard


@dataclass(frozen=True)
class GroupedQueryAttention:
    """hidden + output(attention(rotary(q, k), v)), with q, k, v of norm(hidden) from one layer."""

    ops: Ops
    norm: Tensor
    eps: float
    heads: int
    scale: float
    qkv: Linear
    output: Residual

    def __call__(self, hidden: Tensor, step: Step, cache: LayerCache) -> Tensor:
        qkv = self.qkv(self.ops.rms_norm(hidden, self.norm, self.eps))
        q = self.ops.rotate_and_store(qkv, step.cos, step.sin, self.heads, cache, step.cache_rows)
        return self.output(hidden, self.ops.attend(q, cache, step.attention, self.scale))


@dataclass(frozen=True)
class LlamaBlock:
    attention: GroupedQueryAttention
    mlp: GatedMlp

    def __call__(self, hidden: Tensor, step: Step, cache: LayerCache) -> Tensor:
        return self.mlp(self.attention(hidden, step, cache))


def build_llama(
    config: ModelConfig, source: Source, shard: Shard, ops: Ops, max_len: int
) -> Decoder:
    """The rank's part of the model; raises ModelError for a missing tensor."""

    def block(index: int) -> Block:
        prefix = f"model.layers.{index}"
        return LlamaBlock(
            _attention(config, source, shard, ops, prefix),
            build_mlp(config, source, shard, ops, prefix),
        )

    return make_decoder(config, source, shard, ops, max_len, grouped_kv_shape(config, shard), block)


def grouped_kv_shape(config: ModelConfig, shard: Shard) -> KVShape:
    """What the rank keeps of a token: its K/V heads of its layers."""
    heads = len(range(config.num_kv_heads)[shard.part(config.num_kv_heads)])
    layers = len(shard.layers(config.num_layers))
    return KVShape(layers, heads, config.head_dim, config.head_dim)


def _attention(
    config: ModelConfig, source: Source, shard: Shard, ops: Ops, prefix: str
) -> GroupedQueryAttention:
    # Query heads follow the K/V head that they read, so that uneven parts stay whole groups.
    kv = shard.part(config.num_kv_heads)
    group, dim = config.num_heads // config.num_kv_heads, config.head_dim
    q_rows = slice(kv.start * group * dim, kv.stop * group * dim)
    kv_rows = slice(kv.start * dim, kv.stop * dim)
    name = f"{prefix}.self_attn"
    rows = {"q_proj": q_rows, "k_proj": kv_rows, "v_proj": kv_rows}
    bias = has_bias(shard, config.output_bias)
    output = source.columns(f"{name}.o_proj", q_rows, bias=bias)
    return GroupedQueryAttention(
        ops,
        source.tensor(f"{prefix}.input_layernorm.weight"),
        config.rms_norm_eps,
        (kv.stop - kv.start) * group,
        dim**-0.5,
        source.stacked(name, rows, bias=config.qkv_bias),
        Residual(output, shard.reduce),
    )
