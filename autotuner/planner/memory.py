"""What a device holds of a model: weights, activations, and what is left for KV. Bytes.

A replica's devices are tensor × pipeline × data. Tensor ranks split every matrix; pipeline stages
split the layers; data ranks repeat all but the routed experts, which are spread over tensor × data
(expert parallelism), and have requests of their own.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from autotuner.planner.architecture import Architecture
from autotuner.planner.hardware import Device
from autotuner.planner.precision import (
    Precision,
    kv_number_bytes,
    plain_bytes,
    quantised_bytes,
)

# Chosen: what a driver's context, captured graphs and the allocator's slack take of a GPU.
GPU_OVERHEAD_BYTES = 1.5e9
_NUMBER_BYTES = 2.0  # of an activation
_LOGIT_BYTES = 4.0


@dataclass(frozen=True)
class Layout:
    """The devices of one replica."""

    tensor: int = 1
    pipeline: int = 1
    data: int = 1

    @property
    def devices(self) -> int:
        return self.tensor * self.pipeline * self.data

    def __str__(self) -> str:
        parts = (("TP", self.tensor), ("PP", self.pipeline), ("DP", self.data))
        return " × ".join(f"{name}{size}" for name, size in parts if size > 1) or "1"


@dataclass(frozen=True)
class Storage:
    """How weights and KV are kept, and how much work a step may hold."""

    weights: Precision = Precision.BF16
    cache: Precision | None = None
    batched_tokens: int = 2048
    sequences: int = 256
    memory_share: float = 0.9

    @property
    def kv_number_bytes(self) -> float:
        return kv_number_bytes(self.weights, self.cache)


@dataclass(frozen=True)
class Memory:
    """Bytes of the fullest device, and the tokens of KV of the whole replica (0 where none fit)."""

    weights: float
    activations: float
    overhead: float
    kv_room: float
    kv_per_token: float
    kv_tokens: int

    def fits(self, context_tokens: int) -> bool:
        """Whether a request of this length can be served, on one rank."""
        return self.kv_room >= context_tokens * self.kv_per_token


def weights_on(model: Architecture, precision: Precision, layout: Layout) -> float:
    """Of the fullest device: the stage with most layers, with embeddings or head."""
    p = model.parameters
    stage = math.ceil(model.num_layers / layout.pipeline) / model.num_layers
    split = (p.attention + p.dense_mlp + p.shared_experts) / layout.tensor
    split += p.routed_experts / (layout.tensor * layout.data)
    ends = p.embeddings + p.head if layout.pipeline == 1 else p.embeddings
    plain = stage * (p.router + p.norms) + ends / layout.tensor
    return stage * split * quantised_bytes(precision) + plain * plain_bytes(precision)


def kv_per_token_on(model: Architecture, number_bytes: float, layout: Layout) -> float:
    """Of one device: heads are split, but a latent, or a head too few, is held by every rank."""
    stage = math.ceil(model.num_layers / layout.pipeline) / model.num_layers
    split = 1 if model.latent is not None else min(layout.tensor, model.num_kv_heads)
    return model.kv_numbers_per_token * stage * number_bytes / split


def activations_on(model: Architecture, storage: Storage, layout: Layout) -> float:
    """An estimate: what one layer holds alive for a step's tokens, and the logits.

    Per token the residual, its normalised copy, and the wider of attention (queries, keys, values,
    result) and MLP (gate, up, product), split over tensor ranks; logits in float32 for each
    sequence. The same parts as in Korthikanti et al. 2022 (arXiv 2205.05198, section 4) without
    what only training keeps.
    """
    latent, experts = model.latent, model.experts
    if latent is None:
        attention = (2 * model.num_heads + 2 * model.num_kv_heads) * model.head_dim
    else:
        each = 2 * (latent.nope_dim + latent.rope_dim) + 2 * latent.value_dim
        attention = model.num_heads * each
    mlp = 3 * model.intermediate_size
    if experts is not None:
        chosen = 3 * experts.width * (experts.per_token + experts.shared)
        mlp = max(mlp, chosen + experts.per_token * model.hidden_size)
    per_token = 2 * model.hidden_size + max(attention, mlp) / layout.tensor
    logits = storage.sequences * model.vocab_size * _LOGIT_BYTES / layout.tensor
    return storage.batched_tokens * per_token * _NUMBER_BYTES + logits


def memory_of(model: Architecture, device: Device, storage: Storage, layout: Layout) -> Memory:
    """What one replica's devices hold under this layout."""
    weights = weights_on(model, storage.weights, layout)
    activations = activations_on(model, storage, layout)
    overhead = GPU_OVERHEAD_BYTES if device.kind == "gpu" else 0.0
    kv_room = device.memory_bytes * storage.memory_share - weights - activations - overhead
    per_token = kv_per_token_on(model, storage.kv_number_bytes, layout)
    tokens = int(max(kv_room, 0.0) / per_token) * layout.data
    return Memory(weights, activations, overhead, kv_room, per_token, tokens)


def layouts_for(model: Architecture, device: Device) -> list[Layout]:
    """Parallel sizes worth a look: tensor within a node, stages beyond, data ranks for experts."""
    if device.link_gb_per_s is None:
        return [Layout()]
    tensors = [t for t in (1, 2, 4, 8) if t <= device.per_node and model.num_heads % t == 0]
    plain = [Layout(t, p) for t in tensors for p in (1, 2, 4) if p <= model.num_layers]
    if model.experts is None:
        return plain
    wide = [Layout(t, 1, d) for t in tensors for d in (2, 4, 8, 16, 32)]
    return plain + [one for one in wide if one.devices <= model.experts.count]
