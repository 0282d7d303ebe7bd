"""Random systems: all their parts go together, and some of them have no limits."""

from __future__ import annotations

import numpy as np

from autotuner.agent.engine import Engine, EngineTable
from autotuner.agent.latencies import SLOTable
from autotuner.agent.stepmodel import CPU_PRIOR, StepTable
from autotuner.agent.systems import Systems, draw_systems, points_of_sample
from autotuner.domain.slo import SLO

N = 400


def test_draws_repeat_under_one_seed() -> None:
    first, second = (draw_systems(np.random.default_rng(5), N) for _ in range(2))
    assert (first.rate_rps == second.rate_rps).all()
    assert (first.machines.busy_w == second.machines.busy_w).all()
    assert (first.patience_s == second.patience_s).all()


def test_some_systems_know_no_limit_and_some_do() -> None:
    systems = draw_systems(np.random.default_rng(6), N)
    parts = (
        np.isinf(systems.machines.kv_tokens),
        systems.prefix_share == 0,
        np.isinf(systems.patience_s),
        systems.machines.cpu,
    )
    for unlimited in parts:
        assert 0.3 < unlimited.mean() < 0.9
    assert ((systems.prefix_share >= 0) & (systems.prefix_share < 1)).all()
    assert (systems.patience_s > 0).all()


def test_the_longest_request_fits_the_memory() -> None:
    systems = draw_systems(np.random.default_rng(7), N)
    length = (systems.mix.prompt_tokens + systems.mix.output_tokens) * (systems.mix.weight > 0)
    assert (systems.machines.kv_tokens > length.max(1)).all()


def test_rows_are_taken_from_every_part() -> None:
    systems = draw_systems(np.random.default_rng(8), 20)
    rows = np.array([3, 3, 11])
    some = systems.take(rows)
    assert len(some) == 3
    assert (some.prefix_share == systems.prefix_share[rows]).all()
    assert (some.patience_s == systems.patience_s[rows]).all()
    assert (some.machines.kv_tokens == systems.machines.kv_tokens[rows]).all()
    assert (some.steps.t0_s == systems.steps.t0_s[rows]).all()


def test_another_rate_leaves_the_rest() -> None:
    systems = draw_systems(np.random.default_rng(9), 20)
    faster = systems.with_rate(systems.rate_rps * 2)
    assert (faster.rate_rps == systems.rate_rps * 2).all()
    assert faster.patience_s is systems.patience_s
    assert faster.machines is systems.machines


def test_serving_is_the_reference_engines_unless_another_is_asked_for() -> None:
    systems = draw_systems(np.random.default_rng(10), 20)
    optimistic = np.arange(20) % 2 == 0
    own = systems.serving(None, optimistic)
    assert (own.steps.prefill_s == systems.steps.prefill_s).all()
    assert (own.optimistic == optimistic).all()
    assert (own.prefix_share == systems.prefix_share).all()
    four = systems.serving(EngineTable.of([Engine(data=4)] * 20), optimistic)
    assert (four.replicas == 4).all()


def test_a_plain_system_has_no_limits() -> None:
    mix = points_of_sample(np.array([100.0]), np.array([10.0]))
    slo = SLOTable.of([SLO(ttft_s=1.0)])
    plain = Systems.plain(StepTable.of([CPU_PRIOR]), np.array([1.0]), mix, slo)
    serving = plain.serving(None, np.zeros(1, np.bool_))
    assert np.isinf(serving.kv_tokens[0])
    assert np.isinf(serving.patience_s[0])
    assert serving.prefix_share[0] == 0
    assert serving.steps.model(0) == CPU_PRIOR
