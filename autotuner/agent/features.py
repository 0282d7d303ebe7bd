"""What the policy sees: one vector of ratios per environment, so that one policy serves all."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from autotuner.agent.engine import ATTENTIONS, WEIGHT_DTYPES
from autotuner.agent.fluid import Prediction
from autotuner.agent.ladder import (
    ATTENTION,
    BUDGET,
    DTYPE,
    KNOBS,
    PLACING,
    SEQS,
    THREADS,
    TIMEOUT,
    Ladder,
)
from autotuner.agent.objective import KINDS, GoalTable, objective, taken
from autotuner.agent.schedule import AGENT_KNOBS
from autotuner.agent.stepmodel import Floats, Ints, StepTable
from autotuner.agent.systems import Systems
from autotuner.domain.goals import GoalKind

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
    "log_kv_load",
    "busy",
    "log_served",
    "batch_fill",
    "log_budget_to_longest_prompt",
    "log_budget_to_mean_prompt",
    "log_budget_to_gap_allowance",
    "log_timeout_to_ttft_slo",
    "log_mean_prompt",
    "log_mean_output",
    "long_share",
    "overhead_share",
    "context_share",
    "log_forecast_to_rate",
    "log_rebuild_to_horizon",
    "log_devices",
    "log_free_places",
    "is_cpu",
    "weights_share",
    "log_exchange_to_overhead",
    "log_top_k_cost",
    *(f"log_token_time_{name}" for name in WEIGHT_DTYPES),
    *(f"goal_{kind.value}" for kind in KINDS),
    "objective",
    "attainment_above_floor",
    "log_taken",
    *(f"attention_{name}" for name in ATTENTIONS),
    *(f"weight_dtype_{name}" for name in WEIGHT_DTYPES),
    *(f"position_{name}" for name in AGENT_KNOBS),
    *(f"can_rise_{name}" for name in AGENT_KNOBS),
    *(f"can_fall_{name}" for name in AGENT_KNOBS),
    *(f"rebuilds_{name}" for name in AGENT_KNOBS),
    "log_rise_max_num_seqs",
    "log_fall_max_num_seqs",
    "log_rise_max_num_batched_tokens",
    "log_fall_max_num_batched_tokens",
    *(f"last_move_{name}" for name in AGENT_KNOBS),
    "last_reward",
)


@dataclass(frozen=True)
class Scene:
    """All that there is to see: arrays [environment] or [environment, knob].

    `attainment` is the observed one (it may be noisy). `forecast_ratio`: the forecast rate over the
    present one. `horizon_s`: for how long the workload stays, inf where nothing ends it.
    """

    systems: Systems
    goals: GoalTable
    prediction: Prediction
    attainment: Floats
    ladder: Ladder
    positions: Ints
    last_move: Ints
    last_reward: Floats
    forecast_ratio: Floats
    horizon_s: Floats


def observe(scene: Scene) -> NDArray[np.float32]:
    """Observations [environment, feature] in the order of FEATURES, clipped to ±BOUND.

    A target that is not asked for reads −BOUND.
    """
    values = scene.ladder.values(scene.positions)
    columns = [
        *_latency(scene),
        *_loads(scene, values),
        *_sizes(scene, values),
        _log(scene.forecast_ratio),
        _log(scene.systems.machines.rebuild_s / scene.horizon_s) / 2,
        *_machine(scene),
        *_goal(scene),
        *_words(values),
        *_moves(scene, values),
        *scene.last_move.T.astype(np.float64),
        scene.last_reward * 4,
    ]
    table = np.nan_to_num(np.stack(columns, axis=1), posinf=BOUND, neginf=-BOUND)
    clipped: NDArray[np.float32] = np.clip(table, -BOUND, BOUND).astype(np.float32)
    return clipped


def _log(ratio: Floats) -> Floats:
    return np.log(np.maximum(ratio, 1e-9))


def _latency(scene: Scene) -> tuple[Floats, ...]:
    slo, p = scene.systems.slo, scene.prediction
    return (
        _log(p.ttft_short_s / slo.ttft_s),
        _log(p.ttft_long_s / slo.ttft_s),
        2 * _log(p.full_step_s / slo.gap_max_s),
        2 * _log(p.tpot_s / slo.gap_max_s),
        2 * _log(p.tpot_s / slo.tpot_s),
        _log(p.e2el_s / slo.e2el_s),
    )


def _loads(scene: Scene, values: Floats) -> tuple[Floats, ...]:
    p = scene.prediction
    return (
        scene.attainment * 2 - 1,
        p.ttft_ok * 2 - 1,
        p.gap_ok * 2 - 1,
        p.pace_ok * 2 - 1,
        _log(p.prefill_load),
        _log(p.seat_load),
        _log(p.kv_load),
        p.busy * 2 - 1,
        _log(p.served),
        p.decoding / values[:, SEQS],
    )


def _sizes(scene: Scene, values: Floats) -> tuple[Floats, ...]:
    systems, p, mix = scene.systems, scene.prediction, scene.systems.mix
    steps = _steps(scene)
    mean_prompt, mean_output = (
        (mix.weight * tokens).sum(1) for tokens in (mix.prompt_tokens, mix.output_tokens)
    )
    longest = (mix.prompt_tokens * (mix.weight > 0)).max(1)
    context_s = steps.context_s * p.decoding * (mean_prompt + mean_output / 2)
    base_s = steps.t0_s + steps.decode_s * p.decoding + context_s
    allowance = np.maximum(systems.slo.gap_max_s - base_s, 1e-9) / steps.prefill_s + p.decoding
    is_long = mix.prompt_tokens > 2.5 * mean_prompt[:, None]
    return (
        _log(values[:, BUDGET] / longest),
        _log(values[:, BUDGET] / mean_prompt),
        _log(values[:, BUDGET] / allowance),
        _log(np.maximum(values[:, TIMEOUT] / 1000, 1e-4) / systems.slo.ttft_s),
        _log(mean_prompt / 256),
        _log(mean_output / 64),
        (mix.weight * is_long).sum(1) * 4,
        steps.t0_s / base_s,
        context_s / base_s,
    )


def _steps(scene: Scene) -> StepTable:
    """The step times under the engine in force."""
    engines = scene.ladder.engines(scene.positions)
    optimistic = scene.ladder.schedules(scene.positions).memory_efficient
    return scene.systems.serving(engines, optimistic).steps


def _machine(scene: Scene) -> tuple[Floats, ...]:
    m, p = scene.systems.machines, scene.prediction
    places = m.places(scene.ladder.engines(scene.positions))
    return (
        _log(p.devices),
        _log(m.cores / places),
        m.cpu * 2.0 - 1,
        m.weights_share * 2 - 1,
        _log(m.exchange_s / m.steps.t0_s) / 2,
        _log(m.top_k_cost),
        *_log(m.token_time / m.token_time.mean(axis=1, keepdims=True)).T,
    )


def _goal(scene: Scene) -> tuple[Floats, ...]:
    goals, p = scene.goals, scene.prediction
    saves = goals.kind != KINDS.index(GoalKind.GOODPUT)
    return (
        *((goals.kind == k).astype(np.float64) for k in range(len(KINDS))),
        objective(p, goals) * 2 - 1,
        np.where(saves, (scene.attainment - goals.attainment) * 10, 0.0),
        np.where(saves, _log(taken(p, goals)), 0.0),
    )


def _words(values: Floats) -> list[Floats]:
    return [
        (values[:, knob] == k).astype(np.float64)
        for knob, words in ((ATTENTION, ATTENTIONS), (DTYPE, WEIGHT_DTYPES))
        for k in range(len(words))
    ]


def _moves(scene: Scene, values: Floats) -> list[Floats]:
    ladder, positions = scene.ladder, scene.positions
    top = np.maximum(ladder.counts - 1, 1)
    above = ladder.values(ladder.move(positions, np.ones_like(positions)))
    below = ladder.values(ladder.move(positions, -np.ones_like(positions)))
    rise, fall = (positions < ladder.counts - 1), positions > 0
    machines = scene.systems.machines
    places = machines.places(ladder.engines(positions))
    for k in PLACING:
        counts = machines.cpu if k == THREADS else True
        grown = np.where(counts, above[:, k] / values[:, k], 1.0)
        rise[:, k] &= places * grown <= np.maximum(machines.cores, places)
    columns = [*(positions / top * 2 - 1).T, *rise.T.astype(np.float64)]
    columns += [*fall.T.astype(np.float64), *(~ladder.live).T.astype(np.float64)]
    for k in (SEQS, BUDGET):
        columns += [_log(above[:, k] / values[:, k]), _log(values[:, k] / below[:, k])]
    assert len(columns) == 4 * KNOBS + 4
    return columns
