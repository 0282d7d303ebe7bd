"""Llama and Qwen2: a rank's part of the model, layer by layer."""

from __future__ import annotations

from autotuner.worker.decoder import Block, Decoder
from autotuner.worker.kv import KVShape
from autotuner.worker.model_config import ModelConfig
from autotuner.worker.models.fused_llama import fused
from autotuner.worker.models.llama_block import GroupedQueryAttention, LlamaBlock
from autotuner.worker.models.mlp import build_mlp
from autotuner.worker.models.parts import Residual, Source, has_bias
from autotuner.worker.models.stack import make_decoder
from autotuner.worker.ops.interface import Ops
from autotuner.worker.sharding import Shard


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

    shape = grouped_kv_shape(config, shard)
    return make_decoder(config, source, shard, ops, max_len, shape, block, fused)


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
