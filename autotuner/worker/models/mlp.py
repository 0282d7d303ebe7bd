"""The gated MLP of Llama, Qwen2 and DeepSeek's dense layers."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from autotuner.worker.linear import Linear
from autotuner.worker.model_config import ModelConfig
from autotuner.worker.models.parts import Residual, Source, has_bias
from autotuner.worker.ops.interface import Ops
from autotuner.worker.sharding import Shard


@dataclass(frozen=True)
class GatedMlp:
    """hidden + down(silu(gate(x)) * up(x)) with x = norm(hidden); gate and up are one layer."""

    ops: Ops
    norm: Tensor
    eps: float
    gate_up: Linear
    down: Residual

    def __call__(self, hidden: Tensor) -> Tensor:
        gate_up = self.gate_up(self.ops.rms_norm(hidden, self.norm, self.eps))
        return self.down(hidden, self.ops.silu_mul(gate_up))


def build_mlp(config: ModelConfig, source: Source, shard: Shard, ops: Ops, prefix: str) -> GatedMlp:
    """The rank's part of the MLP of the layer whose tensors start with `prefix`."""
    name, part = f"{prefix}.mlp", shard.part(config.intermediate_size)
    down = source.columns(f"{name}.down_proj", part, bias=has_bias(shard, config.mlp_bias))
    return GatedMlp(
        ops,
        source.tensor(f"{prefix}.post_attention_layernorm.weight"),
        config.rms_norm_eps,
        source.stacked(name, {"gate_proj": part, "up_proj": part}, bias=config.mlp_bias),
        Residual(down, shard.reduce),
    )
