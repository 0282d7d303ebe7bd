"""An analytic model of continuous batching: attainment of settings without playing any step.

Good enough to rank settings, and thousands of times as fast as the discrete-step simulator. A
fixed point over the number of sequences that decode, then queueing formulas: prompts are an M/G/1
queue (Pollaczek-Khinchine), places in the batch an M/G/m queue (Sakasegawa's approximation), and a
request keeps its gap target when no step that is too long falls into its decoding (a Poisson
count). It must not know knobs' levels or the agent.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from autotuner.agent.schedule import ScheduleTable
from autotuner.agent.stepmodel import Floats
from autotuner.agent.systems import Systems

_ITERATIONS = 7
_WINDOW_S = 120.0  # over which an overloaded system is judged


@dataclass(frozen=True)
class Prediction:
    """What settings would give: arrays [environment]. Times in seconds, `*_ok` in 0..1."""

    attainment: Floats
    ttft_ok: Floats
    gap_ok: Floats
    pace_ok: Floats  # TPOT and E2EL together
    prefill_load: Floats  # of the prompt queue, 1 is full
    seat_load: Floats  # of the places in the batch
    decoding: Floats  # mean number of sequences that decode
    ttft_short_s: Floats  # the shortest prompts'
    ttft_long_s: Floats  # the longest prompts'
    full_step_s: Floats  # a step whose budget is used up, or that holds the longest prompt
    tpot_s: Floats
    e2el_s: Floats


@dataclass(frozen=True)
class _Flow:
    """The fixed point. [environment] or [environment, point]."""

    decoding: Floats
    chunk: Floats  # prompt tokens that fit a step
    base_s: Floats  # a step without prompt tokens
    service_s: Floats  # of a prompt, per point
    load: Floats
    tpot_s: Floats


def predict(systems: Systems, schedules: ScheduleTable) -> Prediction:
    """Attainment and its parts for one schedule per system."""
    flow = _fixed_point(systems, schedules)
    mix, m = systems.mix, schedules.max_num_seqs.astype(np.float64)
    mean_service = (mix.weight * flow.service_s).sum(1)
    square = (mix.weight * flow.service_s**2).sum(1)
    calm = np.minimum(flow.load, 0.97)
    wait_s = systems.rate_rps * square / (2 * (1 - calm)) * calm / np.maximum(flow.load, calm)
    wait_scale = np.maximum(square / (2 * mean_service * (1 - calm)), 1e-6)
    decode_s = (mix.output_tokens - 1) * flow.tpot_s[:, None]
    stay_s = (mix.weight * (flow.service_s + decode_s)).sum(1) + wait_s
    seats = systems.rate_rps * stay_s / m
    seat_busy = np.minimum(seats, 0.97) ** (np.sqrt(2 * (m + 1)) - 1)
    seat_scale = np.maximum(stay_s / (m * (1 - np.minimum(seats, 0.97))), 1e-6)
    delay_s = _timeout_delay(systems, schedules, flow)
    own_s = flow.service_s + delay_s[:, None]
    favour = _grouping(mix.prompt_tokens, schedules)
    seat_wait_s = seat_busy * seat_scale
    ttft_s = own_s + (wait_s + seat_wait_s)[:, None] * favour
    overload = np.maximum(flow.load, seats)
    ttft_ok = _within(
        systems, own_s, calm, wait_scale[:, None] * favour, seat_busy, seat_scale[:, None] * favour
    )
    ttft_ok = ttft_ok * _survival(overload, systems.slo.ttft_s)[:, None]
    gap_ok = _gap_ok(systems, schedules, flow, decode_s)
    e2el_s = ttft_s + decode_s
    late = np.where(overload > 1, _WINDOW_S * (1 - 1 / np.maximum(overload, 1)) / 2, 0.0)
    pace_ok = _below(flow.tpot_s / systems.slo.tpot_s, 0.12)[:, None] * _below(
        (e2el_s + late[:, None]) / systems.slo.e2el_s[:, None], 0.3
    )
    full = np.minimum(flow.chunk, (mix.prompt_tokens * (mix.weight > 0)).max(1))
    longest = np.where(mix.weight > 0, mix.prompt_tokens, 0).argmax(1)
    rows = np.arange(len(systems))

    def mean(x: Floats) -> Floats:
        total: Floats = (mix.weight * x).sum(1)
        return total

    return Prediction(
        attainment=mean(ttft_ok * gap_ok * pace_ok),
        ttft_ok=mean(ttft_ok),
        gap_ok=mean(gap_ok),
        pace_ok=mean(pace_ok),
        prefill_load=flow.load,
        seat_load=seats,
        decoding=flow.decoding,
        ttft_short_s=ttft_s.min(1) + late,
        ttft_long_s=ttft_s[rows, longest] + late,
        full_step_s=flow.base_s + systems.steps.prefill_s * full,
        tpot_s=flow.tpot_s,
        e2el_s=mean(e2el_s) + late,
    )


def _fixed_point(systems: Systems, schedules: ScheduleTable) -> _Flow:
    s, mix, rate = systems.steps, systems.mix, systems.rate_rps
    prompt, weight = mix.prompt_tokens, mix.weight
    output = (weight * mix.output_tokens).sum(1)
    held = (weight * (prompt + mix.output_tokens / 2) * mix.output_tokens).sum(1) / output
    most = np.minimum(schedules.max_num_seqs, schedules.max_num_batched_tokens - 1.0)
    most = np.maximum(most, 1.0)
    prompt_kv_s = s.context_s[:, None] * prompt / 2
    decoding = np.minimum(rate * output * (s.t0_s + s.decode_s), most)
    for _ in range(_ITERATIONS):
        chunk = np.maximum(schedules.max_num_batched_tokens - decoding, 1.0)
        base_s = s.t0_s + s.decode_s * decoding + s.context_s * decoding * held
        ratio = prompt / chunk[:, None]
        alone = np.where(ratio > 1, ratio + 0.5, 1.0)  # steps of a prompt that meets no other
        token_s = (s.prefill_s[:, None] + s.pair_s[:, None] * prompt / 2) * prompt
        full_s = ratio * (base_s[:, None] + prompt_kv_s) + token_s
        alone_s = alone * (base_s[:, None] + prompt_kv_s) + token_s
        crowd = np.clip(rate * (weight * full_s).sum(1), 0, 1)[:, None]
        service_s = crowd * full_s + (1 - crowd) * alone_s
        load = rate * (weight * service_s).sum(1)
        busy = np.minimum(load, 1.0)
        steps = (weight * (crowd * ratio + (1 - crowd) * alone)).sum(1)
        mixed_s = (weight * service_s).sum(1) / steps
        tpot_s = 1 / (busy / mixed_s + (1 - busy) / base_s)
        served = rate / np.maximum(load, 1.0)
        decoding = 0.5 * decoding + 0.5 * np.minimum(served * output * tpot_s, most)
    return _Flow(decoding, chunk, base_s, service_s, load, tpot_s)


def _timeout_delay(systems: Systems, schedules: ScheduleTable, flow: _Flow) -> Floats:
    """The wait that the batching timeout adds: all of it unless the free places fill sooner."""
    free = np.maximum(schedules.max_num_seqs - flow.decoding, 1.0)
    fills_s = free / systems.rate_rps
    return np.minimum(schedules.batch_timeout_s, fills_s) * 0.8


def _grouping(prompt: Floats, schedules: ScheduleTable) -> Floats:
    """How length grouping shares out the waits, as factors: the long wait for the short."""
    short = prompt < prompt.mean(1, keepdims=True)
    return np.where(schedules.length_grouped[:, None], np.where(short, 0.5, 1.6), 1.0)


def _within(
    systems: Systems,
    own_s: Floats,
    load: Floats,
    wait_scale: Floats,
    seat_busy: Floats,
    seat_scale: Floats,
) -> Floats:
    """P(TTFT in time) per point: both waits have exponential tails beyond an atom at 0."""
    slack = systems.slo.ttft_s[:, None] - own_s
    ahead = np.maximum(slack, 0)
    queue_ok = 1 - load[:, None] * np.exp(-ahead / wait_scale)
    seat_ok = 1 - seat_busy[:, None] * np.exp(-ahead / seat_scale)
    alone_ok = _below(own_s / systems.slo.ttft_s[:, None], 0.08)
    return queue_ok * seat_ok * alone_ok


def _survival(load: Floats, slo_s: Floats) -> Floats:
    """The share served in time while an overloaded queue grows over the window."""
    growth = np.maximum(1 - 1 / np.maximum(load, 1e-9), 1e-9)
    return np.where(load > 1, np.minimum(1.0, slo_s / (_WINDOW_S * growth)), 1.0)


def _gap_ok(systems: Systems, schedules: ScheduleTable, flow: _Flow, decode_s: Floats) -> Floats:
    """P(no step too long while decoding) per point."""
    s, mix = systems.steps, systems.mix
    target = systems.slo.gap_max_s[:, None]
    softness = 0.05 + s.noise
    # The longest of some dozens of noisy steps lies about two deviations above the mean.
    lift = np.exp(2.0 * s.noise)[:, None]
    crowd_s = flow.base_s + np.sqrt(flow.decoding) * s.decode_s
    mean_prompt = (mix.weight * mix.prompt_tokens).sum(1)
    together = systems.rate_rps * (flow.tpot_s + schedules.batch_timeout_s) * mean_prompt
    chunk = flow.chunk[:, None]

    def too_long(tokens: Floats) -> Floats:
        step_s = crowd_s[:, None] + s.prefill_s[:, None] * tokens
        step_s = step_s + s.context_s[:, None] * mix.prompt_tokens / 2
        # A prompt's last chunk attends to nearly all of it, and the longest gap is asked for.
        late = np.maximum(mix.prompt_tokens - tokens / 2, mix.prompt_tokens / 2)
        step_s = step_s + s.pair_s[:, None] * tokens * late
        return 1 - _below(step_s * lift / target, softness[:, None])

    backlog = np.minimum(flow.load, 1.0)[:, None]
    alone = too_long(np.minimum(chunk, mix.prompt_tokens + together[:, None]))
    hit = (1 - backlog) * alone + backlog * too_long(np.broadcast_to(chunk, alone.shape))
    per_s = systems.rate_rps * (mix.weight * hit).sum(1)
    base_ok = _below(crowd_s[:, None] * lift / target, softness[:, None])
    ok: Floats = base_ok * np.exp(-per_s[:, None] * decode_s)
    return ok


def _below(ratio: Floats, softness: Floats | float) -> Floats:
    """A smooth step: 1 when the ratio to the target is well below 1, 0 when well above."""
    x = np.log(np.maximum(ratio, 1e-12)) / softness
    return 1 / (1 + np.exp(np.clip(x * 1.7, -50, 50)))
