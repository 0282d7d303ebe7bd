"""One layer of Llama and Qwen2: grouped-query attention with rotary embedding, and a gated MLP."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from autotuner.worker.decoder import Step
from autotuner.worker.kv import LayerCache
from autotuner.worker.linear import Linear
from autotuner.worker.models.mlp import GatedMlp
from autotuner.worker.models.parts import Residual
from autotuner.worker.ops.interface import Ops


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
