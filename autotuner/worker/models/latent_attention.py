"""Multi-head latent attention (DeepSeek-V2, arXiv 2405.04434 section 2.1), in its absorbed form.

Cached of a token is one latent and one rotated key, for all heads together. The up-projections of
keys and values are moved to the queries and to the outputs, so that attention is multi-query over
the latents themselves and nothing is expanded per cached token.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from autotuner.worker.decoder import Step
from autotuner.worker.kv import KVShape, LayerCache
from autotuner.worker.linear import Linear
from autotuner.worker.model_config import LatentAttention, ModelConfig
from autotuner.worker.models.parts import Residual, Source, has_bias
from autotuner.worker.ops.interface import Ops
from autotuner.worker.ops.rotary import rotate, yarn_mscale
from autotuner.worker.sharding import Shard

LATENT_EPS = 1e-6  # of the norms of latents; no field of the config says it


@dataclass(frozen=True)
class LatentAttentionLayer:
    """hidden + output(up(attention)), over [latent, rotated key] of each cached token.

    `queries` maps [tokens, width] to [tokens, heads * (nope_dim + rope_dim)]; `up_keys`
    [heads, nope_dim, kv_rank] and `up_values` [heads, kv_rank, value_dim].
    """

    ops: Ops
    sizes: LatentAttention
    norm: Tensor
    eps: float
    scale: float
    queries: Callable[[Tensor], Tensor]
    down: Linear
    latent_norm: Tensor
    up_keys: Tensor
    up_values: Tensor
    output: Residual

    def __call__(self, hidden: Tensor, step: Step, cache: LayerCache) -> Tensor:
        x = self.ops.rms_norm(hidden, self.norm, self.eps)
        self._store(self.down(x), step, cache)
        q = self._absorbed(self.queries(x), step)
        mixed = self.ops.attend(q, cache, step.attention, self.scale)
        latents = mixed.view(len(q), -1, self.sizes.kv_rank).transpose(0, 1)
        values = torch.bmm(latents, self.up_values).transpose(0, 1)
        return self.output(hidden, values.flatten(1))

    def _store(self, down: Tensor, step: Step, cache: LayerCache) -> None:
        rank = self.sizes.kv_rank
        latent = self.ops.rms_norm(down[:, :rank].contiguous(), self.latent_norm, LATENT_EPS)
        key = rotate(down[:, None, rank:], step.cos, step.sin)
        row = torch.cat([latent[:, None], key], -1)
        cache.keys.index_copy_(0, step.cache_rows, row)  # the values are a part of it

    def _absorbed(self, queries: Tensor, step: Step) -> Tensor:
        sizes = self.sizes
        q = queries.view(len(queries), -1, sizes.nope_dim + sizes.rope_dim)
        plain = torch.bmm(q[..., : sizes.nope_dim].transpose(0, 1), self.up_keys).transpose(0, 1)
        return torch.cat([plain, rotate(q[..., sizes.nope_dim :], step.cos, step.sin)], -1)


@dataclass(frozen=True)
class LowRankQueries:
    """Queries by way of a latent of their own."""

    ops: Ops
    down: Linear
    norm: Tensor
    up: Linear

    def __call__(self, x: Tensor) -> Tensor:
        return self.up(self.ops.rms_norm(self.down(x), self.norm, LATENT_EPS))


def latent_kv_shape(config: ModelConfig, shard: Shard) -> KVShape:
    """Every rank that splits a layer keeps the latents whole: all its heads read them."""
    assert config.latent is not None
    rank = config.latent.kv_rank
    layers = len(shard.layers(config.num_layers))
    return KVShape(layers, 1, rank + config.latent.rope_dim, rank, values_in_keys=True)


def build_latent_attention(
    config: ModelConfig, source: Source, shard: Shard, ops: Ops, prefix: str
) -> LatentAttentionLayer:
    sizes, name = config.latent, f"{prefix}.self_attn"
    assert sizes is not None
    heads = shard.part(config.num_heads)
    up = source.raw(f"{name}.kv_b_proj.weight")
    up = up.view(config.num_heads, sizes.nope_dim + sizes.value_dim, sizes.kv_rank)[heads]
    output = source.columns(
        f"{name}.o_proj",
        slice(heads.start * sizes.value_dim, heads.stop * sizes.value_dim),
        bias=has_bias(shard, config.output_bias),
    )
    return LatentAttentionLayer(
        ops,
        sizes,
        source.tensor(f"{prefix}.input_layernorm.weight"),
        config.rms_norm_eps,
        _scale(config, sizes),
        _queries(config, sizes, source, ops, name, heads),
        _down(config, sizes, source, name),
        source.tensor(f"{name}.kv_a_layernorm.weight"),
        source.keep(up[:, : sizes.nope_dim].contiguous()),
        source.keep(up[:, sizes.nope_dim :].transpose(1, 2).contiguous()),
        Residual(output, shard.reduce),
    )


def _scale(config: ModelConfig, sizes: LatentAttention) -> float:
    scale: float = (sizes.nope_dim + sizes.rope_dim) ** -0.5
    yarn = config.rope_scaling.yarn
    if yarn is None or not yarn.mscale_all_dim:
        return scale
    return scale * yarn_mscale(config.rope_scaling.factor, yarn.mscale_all_dim) ** 2


def _queries(
    config: ModelConfig,
    sizes: LatentAttention,
    source: Source,
    ops: Ops,
    name: str,
    heads: slice,
) -> Callable[[Tensor], Tensor]:
    last = "q_proj" if sizes.q_rank is None else "q_b_proj"
    dim = sizes.nope_dim + sizes.rope_dim
    weight = source.raw(f"{name}.{last}.weight").view(config.num_heads, dim, -1)[heads]
    weight = torch.cat(
        [weight[:, : sizes.nope_dim], _halves(weight[:, sizes.nope_dim :])], 1
    ).flatten(0, 1)
    up = source.linear(f"{name}.{last}", weight)
    if sizes.q_rank is None:
        return up
    down = source.stacked(name, {"q_a_proj": slice(None)}, bias=config.output_bias)
    return LowRankQueries(ops, down, source.tensor(f"{name}.q_a_layernorm.weight"), up)


def _down(config: ModelConfig, sizes: LatentAttention, source: Source, name: str) -> Linear:
    name = f"{name}.kv_a_proj_with_mqa"

    def reordered(rows: Tensor) -> Tensor:
        return torch.cat([rows[: sizes.kv_rank], _halves(rows[None, sizes.kv_rank :])[0]])

    weight = reordered(source.raw(f"{name}.weight"))
    bias = reordered(source.raw(f"{name}.bias")) if config.output_bias else None
    return source.linear(name, weight, bias)


def _halves(rows: Tensor) -> Tensor:
    """Rotary rows [heads, rope_dim, ...] stored as neighbouring pairs, as first and second halves.

    A fixed order of the rotated numbers, the same for q and k, does not change their products.
    """
    return torch.cat([rows[:, 0::2], rows[:, 1::2]], 1)
