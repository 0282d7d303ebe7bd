"""An analytic model of continuous batching: attainment of settings without playing any step.

Good enough to rank settings, and thousands of times as fast as the discrete-step simulator: a fixed
point over the number of sequences that decode, then queueing formulas. It must not know knobs'
levels or the agent.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from autotuner.agent.engine import EngineTable
from autotuner.agent.fluid_flow import Replica, fixed_point
from autotuner.agent.fluid_targets import (
    WINDOW_S,
    Waits,
    gap_ok,
    pace_ok,
    timeout_delay,
    ttft_ok,
    turns,
    waits,
)
from autotuner.agent.schedule import ScheduleTable
from autotuner.agent.stepmodel import Floats, Ints
from autotuner.agent.systems import Systems

_REFERENCE_BATCH = 8.0


@dataclass(frozen=True)
class Prediction:
    """What settings would give: arrays [environment]. Times in seconds, `*_ok` in 0..1.

    The `*_reference`s depend on the system alone, not on its settings: what `devices` and
    `energy_j_per_token` are held against.
    """

    attainment: Floats
    ttft_ok: Floats
    gap_ok: Floats
    pace_ok: Floats  # TPOT and E2EL together
    prefill_load: Floats  # of the prompt queue, 1 is full
    seat_load: Floats  # of the places in the batch
    decoding: Floats  # mean number of sequences that decode, in one replica
    ttft_short_s: Floats  # the shortest prompts'
    ttft_long_s: Floats  # the longest prompts'
    full_step_s: Floats  # a step whose budget is used up, or that holds the longest prompt
    tpot_s: Floats
    e2el_s: Floats
    kv_load: Floats  # of the memory that requests ask for at once, 1 is full; 0 without a limit
    devices: Floats  # in use, over all replicas
    busy: Floats  # the share of time in which steps run, 0..1
    served: Floats  # the share of the offered load that there is capacity for, 0..1
    energy_j_per_token: Floats  # per output token
    devices_reference: Floats
    energy_reference: Floats


def predict(
    systems: Systems, schedules: ScheduleTable, engines: EngineTable | None = None
) -> Prediction:
    """Attainment and its parts for one schedule and engine per system.

    Without `engines`, each system has its machine's reference engine.
    """
    engines = systems.machines.reference if engines is None else engines
    serving = systems.serving(engines, schedules.memory_efficient)
    replica = Replica.of(systems, schedules, serving)
    flow = fixed_point(replica)
    slo, w = systems.slo, waits(replica, flow)
    decode_s = (replica.output - 1) * flow.tpot_s[:, None]
    own_s = flow.service_s + timeout_delay(replica, flow)[:, None]
    order = turns(replica, flow)
    alone_s = own_s + decode_s
    most_wait_s = np.maximum(serving.patience_s - replica.mean(alone_s), 0.0)
    wait_s = np.minimum(w.mean_s + _lateness(w), most_wait_s)
    ttft_s = own_s + wait_s[:, None] * order.wait
    e2el_s = ttft_s + decode_s
    fits = replica.prompt + replica.output <= serving.kv_tokens[:, None]  # others are refused
    in_time = ttft_ok(slo, own_s, w, order, most_wait_s) * fits
    no_gap = gap_ok(replica, slo, flow, decode_s)
    in_pace = pace_ok(slo, flow.tpot_s, e2el_s, alone_s, serving.patience_s)
    rows, longest = np.arange(len(systems)), _longest(replica)
    full = np.minimum(flow.chunk, replica.computed[rows, longest])
    busy = 1 - np.exp(-np.minimum(replica.rate_rps * flow.stay_s, 50.0))
    served = 1 / np.maximum(w.overload, 1.0)
    return Prediction(
        attainment=replica.mean(in_time * no_gap * in_pace),
        ttft_ok=replica.mean(in_time),
        gap_ok=replica.mean(no_gap),
        pace_ok=replica.mean(in_pace),
        prefill_load=flow.load,
        seat_load=w.seat_load,
        decoding=flow.decoding,
        ttft_short_s=ttft_s.min(1),
        ttft_long_s=ttft_s[rows, longest],
        full_step_s=flow.base_s + serving.steps.prefill_s * full,
        tpot_s=flow.tpot_s,
        e2el_s=replica.mean(e2el_s),
        kv_load=flow.kv_load,
        devices=engines.devices,
        busy=busy,
        served=served,
        energy_j_per_token=_energy(systems, engines, replica, busy, served),
        devices_reference=np.sqrt(systems.machines.cores),
        energy_reference=_energy_reference(systems, replica),
    )


def _lateness(waits: Waits) -> Floats:
    """The mean wait in a queue that grows for the window."""
    grown: Floats = WINDOW_S * (1 - 1 / np.maximum(waits.overload, 1.0)) / 2
    return grown


def _longest(replica: Replica) -> Ints:
    """The point with the longest prompts that occur."""
    longest: Ints = np.where(replica.weight > 0, replica.prompt, 0).argmax(1)
    return longest


def _energy(
    systems: Systems, engines: EngineTable, replica: Replica, busy: Floats, served: Floats
) -> Floats:
    """J per output token: what is in use draws its idle power, and more while steps run."""
    m = systems.machines
    power_w = m.places(engines) * (m.idle_w + (m.busy_w - m.idle_w) * busy)
    energy: Floats = power_w / (systems.rate_rps * served * replica.mean_output)
    return energy


def _energy_reference(systems: Systems, replica: Replica) -> Floats:
    """J per output token of the reference engine at work in batches of 8."""
    m, s = systems.machines, systems.machines.steps
    prompt = (replica.weight * replica.prompt).sum(1) / replica.mean_output
    token_s = s.t0_s / _REFERENCE_BATCH + s.decode_s + s.prefill_s * prompt
    energy: Floats = m.places(m.reference) * m.busy_w * token_s
    return energy
