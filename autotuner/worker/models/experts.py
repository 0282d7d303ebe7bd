"""A mixture of experts in place of one MLP (DeepSeek-V2, arXiv 2405.04434 section 2.2; V3's gate
from arXiv 2412.19437 section 2.1.2).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from autotuner.worker.linear import Linear
from autotuner.worker.model_config import ExpertsConfig, ModelConfig
from autotuner.worker.models.parts import Source
from autotuner.worker.ops.interface import Ops
from autotuner.worker.sharding import Shard


@dataclass(frozen=True)
class Gate:
    """Which experts a token goes to, and their weights; in float32. `correction` is V3's."""

    config: ExpertsConfig
    weight: Tensor
    correction: Tensor | None

    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(experts [tokens, per_token] int64, weights [tokens, per_token])."""
        logits = functional.linear(x.float(), self.weight)
        if self.correction is not None:
            scores = logits.sigmoid()
            chosen = self._best(scores + self.correction, best_of_group=2, hidden=-torch.inf)
        else:
            scores = logits.softmax(-1)
            chosen = self._best(scores, best_of_group=1, hidden=0.0)
        weights = scores.gather(1, chosen)
        if self.config.normalise:
            weights = weights / (weights.sum(-1, keepdim=True) + 1e-20)
        return chosen, weights * self.config.scaling

    def _best(self, scores: Tensor, *, best_of_group: int, hidden: float) -> Tensor:
        """The best experts, within the groups whose `best_of_group` best sum up highest."""
        config = self.config
        if config.method != "greedy":
            grouped = scores.view(len(scores), config.groups, -1)
            strength = grouped.topk(best_of_group, -1).values.sum(-1)
            groups = strength.topk(config.top_groups, -1).indices
            kept = torch.zeros_like(strength, dtype=torch.bool).scatter_(1, groups, value=True)
            scores = grouped.masked_fill(~kept[..., None], hidden).flatten(1)
        return scores.topk(config.per_token, -1).indices


@dataclass(frozen=True)
class Expert:
    gate_up: Linear
    down: Linear

    def __call__(self, ops: Ops, x: Tensor) -> Tensor:
        return self.down(ops.silu_mul(self.gate_up(x)))


@dataclass(frozen=True)
class MixtureOfExperts:
    """hidden + shared(x) + the chosen experts' weighted sum, with x = norm(hidden)."""

    ops: Ops
    norm: Tensor
    eps: float
    gate: Gate
    experts: tuple[Expert, ...]
    shared: Expert | None
    reduce: Callable[[Tensor], Tensor] | None

    def __call__(self, hidden: Tensor) -> Tensor:
        x = self.ops.rms_norm(hidden, self.norm, self.eps)
        mixed = self._mixed(x)
        if self.shared is not None:
            mixed = mixed + self.shared(self.ops, x)
        return hidden + (mixed if self.reduce is None else self.reduce(mixed))

    def _mixed(self, x: Tensor) -> Tensor:
        """One pass over each expert that some token chose, with its tokens together."""
        chosen, weights = self.gate(x)
        mixed = torch.zeros(x.shape, dtype=torch.float32, device=x.device)
        for index in sorted({*chosen.flatten().tolist()}):
            token, place = (chosen == index).nonzero(as_tuple=True)
            out = self.experts[index](self.ops, x[token]).float()
            mixed.index_add_(0, token, out * weights[token, place, None])
        return mixed.to(x.dtype)


def build_experts(
    config: ModelConfig, source: Source, shard: Shard, ops: Ops, prefix: str
) -> MixtureOfExperts:
    experts, name = config.experts, f"{prefix}.mlp"
    assert experts is not None
    part = shard.part(experts.width)
    gate = Gate(
        experts,
        source.keep(source.raw(f"{name}.gate.weight", torch.float32)),
        _correction(experts, source, f"{name}.gate.e_score_correction_bias"),
    )
    return MixtureOfExperts(
        ops,
        source.tensor(f"{prefix}.post_attention_layernorm.weight"),
        config.rms_norm_eps,
        gate,
        tuple(_routed(source, f"{name}.experts", index, part) for index in range(experts.count)),
        _shared(experts, source, shard, name) if experts.shared else None,
        shard.reduce,
    )


def _correction(experts: ExpertsConfig, source: Source, name: str) -> Tensor | None:
    if experts.method != "noaux_tc":
        return None
    return source.keep(source.raw(name, torch.float32))


def _routed(source: Source, name: str, index: int, part: slice) -> Expert:
    """An expert of a file that has each by itself, or all in one tensor."""
    if f"{name}.gate_up_proj" not in source:
        return _expert(source, f"{name}.{index}", part)
    gate_up = source.raw(f"{name}.gate_up_proj")[index]
    gate, up = gate_up.chunk(2)
    down = source.raw(f"{name}.down_proj")[index]
    return Expert(
        source.linear(f"{name}.{index}.gate_proj+up_proj", torch.cat([gate[part], up[part]])),
        source.linear(f"{name}.{index}.down_proj", down[:, part].contiguous(), inputs=part),
    )


def _expert(source: Source, name: str, part: slice) -> Expert:
    gate_up = source.stacked(name, {"gate_proj": part, "up_proj": part}, bias=False)
    return Expert(gate_up, source.columns(f"{name}.down_proj", part, bias=False))


def _shared(experts: ExpertsConfig, source: Source, shard: Shard, name: str) -> Expert:
    return _expert(source, f"{name}.shared_experts", shard.part(experts.width * experts.shared))
