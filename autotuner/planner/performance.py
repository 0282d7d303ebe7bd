"""A replica's step times from its bytes and FLOPs: a roofline in the simulator's own terms.

Reading weights is t0, as in the roofline model (Williams et al. 2009); arithmetic and reading KV
come on top, since the simulator's steps are linear. It must not know traffic or prices.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from autotuner.agent.stepmodel import StepModel
from autotuner.domain.errors import ConfigError
from autotuner.planner.architecture import Architecture
from autotuner.planner.efficiency import Efficiency, efficiency_of
from autotuner.planner.hardware import Device
from autotuner.planner.memory import Layout, Storage, kv_per_token_on, weights_on
from autotuner.planner.precision import quantised_bytes

_ACTIVATION_BYTES = 2.0


@dataclass(frozen=True)
class Replica:
    """A model on one replica's devices, and how its numbers are kept."""

    model: Architecture
    device: Device
    storage: Storage
    layout: Layout

    @property
    def efficiency(self) -> Efficiency:
        return efficiency_of(self.device.kind)

    @property
    def flops_per_s(self) -> float:
        """Of one device. Raises ConfigError where it computes in no type that serves."""
        found = self.device.flops_per_s(self.storage.weights)
        if found is None:
            raise ConfigError(
                f"precision={self.storage.weights}: the device lists no type to compute it in "
                f"(it has {', '.join(self.device.tflops)})"
            )
        return found

    @property
    def batch_flops_per_s(self) -> float:
        """As for a decode batch: measured where the device has it."""
        measured = self.device.batch_tflops
        return self.flops_per_s if measured is None else measured * 1e12


def steps_of(replica: Replica, sequences: float) -> StepModel:
    """Step times of one replica with about so many sequences in its batch.

    The number matters with experts alone: more sequences read more of them. Data ranks step
    together, each with its share of the sequences.
    """
    model, layout, e = replica.model, replica.layout, replica.efficiency
    ranks = layout.tensor * layout.data  # that the steps' arithmetic is spread over
    peak, batch_peak = replica.flops_per_s, replica.batch_flops_per_s
    exchange_token_s = _exchange_token_s(replica)
    per_kv_token = kv_per_token_on(model, replica.storage.kv_number_bytes, layout)
    stages_kv = per_kv_token * layout.pipeline / layout.data
    bandwidth = replica.device.bandwidth_bytes_per_s
    attending_s = model.decode_flops_per_pair / (peak * e.pair * ranks)
    return StepModel(
        t0_s=_fixed_s(replica, sequences),
        decode_s=model.decode_flops_per_token * (1 - e.hidden) / (batch_peak * e.decode * ranks)
        + exchange_token_s,
        prefill_s=model.prompt_flops_per_token / (peak * e.prompt * ranks) + exchange_token_s,
        context_s=max(stages_kv / (bandwidth * e.kv_read), attending_s),
        noise=e.noise,
        pair_s=model.prompt_flops_per_pair / (peak * e.pair * ranks),
    )


def step_s(replica: Replica, sequences: float, context_tokens: float) -> float:
    """Of a decode step with so many sequences, each with that context (tokens)."""
    return steps_of(replica, sequences).step_s(sequences, 0.0, sequences * context_tokens)


def _fixed_s(replica: Replica, sequences: float) -> float:
    """Reading the weights, launching and exchanging. Stages follow each other."""
    model, layout, e = replica.model, replica.layout, replica.efficiency
    read_s = _bytes_read(replica, sequences) / (replica.device.bandwidth_bytes_per_s * e.read)
    exchange_s = 2 * model.num_layers * e.exchange_s * math.log2(layout.tensor * layout.data)
    return (
        layout.pipeline * read_s
        + e.step_s
        + model.num_layers * e.layer_s
        + exchange_s
        + (layout.pipeline - 1) * e.handover_s
    )


def _bytes_read(replica: Replica, sequences: float) -> float:
    """Of one device's weights in one step: no embedding table, and the experts that are met."""
    model, storage, layout = replica.model, replica.storage, replica.layout
    held = weights_on(model, storage.weights, replace(layout, pipeline=1)) / layout.pipeline
    p = model.parameters
    table = 0 if model.tied else p.embeddings
    looked_up = table * max(quantised_bytes(storage.weights), _ACTIVATION_BYTES)
    ranks = layout.tensor * layout.data
    experts = p.routed_experts * quantised_bytes(storage.weights) / (ranks * layout.pipeline)
    missed = experts * (1 - model.experts_read_share(sequences))
    return held - looked_up / (layout.tensor * layout.pipeline) - missed


def _exchange_token_s(replica: Replica) -> float:
    """Two ring sums a layer: each device sends 2(t − 1)/t of the token's width, one way."""
    link, ranks = replica.device.link_gb_per_s, replica.layout.tensor * replica.layout.data
    if ranks == 1 or link is None:
        return 0.0
    sent = 2 * replica.model.num_layers * replica.model.hidden_size * _ACTIVATION_BYTES
    sent *= 2 * (ranks - 1) / ranks
    return sent / (link * 1e9 / 2 * replica.efficiency.link) / replica.layout.data
