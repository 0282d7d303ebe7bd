"""What the policy sees: one vector of ratios per environment, so that one policy serves all."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from autotuner.agent.fluid import Prediction
from autotuner.agent.ladder import BUDGET, KNOBS, POLICY, SEQS, TIMEOUT, Ladder
from autotuner.agent.schedule import KNOB_NAMES
from autotuner.agent.stepmodel import Floats, Ints
from autotuner.agent.systems import Systems

BOUND = 5.0

FEATURES: tuple[str, ...] = (
    "log_ttft_short_to_slo",
    "log_ttft_long_to_slo",
    "log_full_step_to_gap_slo",
    "log_tpot_to_gap_slo",
    "log_tpot_to_slo",
    "log_e2el_to_slo",
    "attainment",
    "ttft_ok",
    "gap_ok",
    "pace_ok",
    "log_prefill_load",
    "log_seat_load",
    "batch_fill",
    "log_budget_to_longest_prompt",
    "log_budget_to_mean_prompt",
    "log_budget_to_gap_allowance",
    "log_timeout_to_ttft_slo",
    "log_mean_prompt",
    "log_mean_output",
    "long_share",
    "overhead_share",
    "log_forecast_to_rate",
    *(f"position_{name}" for name in KNOB_NAMES),
    *(f"can_rise_{name}" for name in KNOB_NAMES),
    *(f"can_fall_{name}" for name in KNOB_NAMES),
    "log_rise_max_num_seqs",
    "log_fall_max_num_seqs",
    "log_rise_max_num_batched_tokens",
    "log_fall_max_num_batched_tokens",
    *(f"last_move_{name}" for name in KNOB_NAMES),
    "last_reward",
)


def observe(
    systems: Systems,
    prediction: Prediction,
    attainment: Floats,
    ladder: Ladder,
    positions: Ints,
    last_move: Ints,
    last_reward: Floats,
    forecast_ratio: Floats,
) -> NDArray[np.float32]:
    """Observations [environment, feature] in the order of FEATURES, clipped to ±BOUND.

    `attainment` is the observed one (it may be noisy); a target that is not asked for reads −BOUND.
    """
    values = ladder.values(positions)
    columns = [
        *_latency(systems, prediction),
        attainment * 2 - 1,
        prediction.ttft_ok * 2 - 1,
        prediction.gap_ok * 2 - 1,
        prediction.pace_ok * 2 - 1,
        _log(prediction.prefill_load),
        _log(prediction.seat_load),
        prediction.decoding / values[:, SEQS],
        *_sizes(systems, prediction, values),
        _log(forecast_ratio),
        *_moves(ladder, positions, values),
        *(last_move[:, k].astype(np.float64) for k in range(KNOBS)),
        last_reward * 4,
    ]
    table = np.stack(columns, axis=1)
    clipped: NDArray[np.float32] = np.nan_to_num(np.clip(table, -BOUND, BOUND)).astype(np.float32)
    return clipped


def _log(ratio: Floats) -> Floats:
    return np.log(np.maximum(ratio, 1e-9))


def _latency(systems: Systems, p: Prediction) -> tuple[Floats, ...]:
    slo = systems.slo
    return (
        _log(p.ttft_short_s / slo.ttft_s),
        _log(p.ttft_long_s / slo.ttft_s),
        2 * _log(p.full_step_s / slo.gap_max_s),
        2 * _log(p.tpot_s / slo.gap_max_s),
        2 * _log(p.tpot_s / slo.tpot_s),
        _log(p.e2el_s / slo.e2el_s),
    )


def _sizes(systems: Systems, p: Prediction, values: Floats) -> tuple[Floats, ...]:
    mix, steps = systems.mix, systems.steps
    mean_prompt = (mix.weight * mix.prompt_tokens).sum(1)
    longest = (mix.prompt_tokens * (mix.weight > 0)).max(1)
    base_s = steps.t0_s + steps.decode_s * p.decoding
    allowance = np.maximum(systems.slo.gap_max_s - base_s, 1e-9) / steps.prefill_s + p.decoding
    is_long = mix.prompt_tokens > 2.5 * mean_prompt[:, None]
    return (
        _log(values[:, BUDGET] / longest),
        _log(values[:, BUDGET] / mean_prompt),
        _log(values[:, BUDGET] / allowance),
        _log(np.maximum(values[:, TIMEOUT] / 1000, 1e-4) / systems.slo.ttft_s),
        _log(mean_prompt / 256),
        _log((mix.weight * mix.output_tokens).sum(1) / 64),
        (mix.weight * is_long).sum(1) * 4,
        steps.t0_s / base_s,
    )


def _moves(ladder: Ladder, positions: Ints, values: Floats) -> list[Floats]:
    top = np.maximum(ladder.counts - 1, 1)
    place = positions / top * 2 - 1
    rise, fall = positions < ladder.counts - 1, positions > 0
    above = ladder.values(ladder.move(positions, np.ones_like(positions)))
    below = ladder.values(ladder.move(positions, -np.ones_like(positions)))
    columns = [place[:, k] for k in range(KNOBS)]
    columns += [rise[:, k].astype(np.float64) for k in (SEQS, TIMEOUT, BUDGET, POLICY)]
    columns += [fall[:, k].astype(np.float64) for k in (SEQS, TIMEOUT, BUDGET, POLICY)]
    for k in (SEQS, BUDGET):
        columns += [_log(above[:, k] / values[:, k]), _log(values[:, k] / below[:, k])]
    return columns
