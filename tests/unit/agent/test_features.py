from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from autotuner.agent.features import BOUND, FEATURES
from autotuner.agent.game import Game, Rules
from autotuner.agent.ladder import KNOBS, stack_levels
from autotuner.agent.objective import GoalTable
from autotuner.agent.stepmodel import StepTable
from autotuner.agent.systems import Systems, draw_systems
from autotuner.domain.goals import Goal, GoalKind

LEVELS = [[4, 64], [0, 10], [64, 1024], [0, 1], [0, 1], [0, 1], [0, 1, 2]] + [[1, 2]] * 4
STEPS = ("t0_s", "decode_s", "prefill_s", "context_s", "pair_s")


def seen(game: Game, name: str) -> NDArray[np.float32]:
    return game.observation()[:, FEATURES.index(name)]


def game(systems: Systems, **told: object) -> Game:
    n = len(systems)
    at = np.zeros((n, KNOBS), dtype=np.int64)
    return Game(systems, stack_levels([LEVELS] * n), at, **told)  # type: ignore[arg-type]


def drawn(n: int = 24, seed: int = 0) -> Systems:
    return draw_systems(np.random.default_rng(seed), n)


def test_no_feature_is_told_twice() -> None:
    assert len(set(FEATURES)) == len(FEATURES)


EXTREME = st.sampled_from([1e-9, 1e-4, 1.0, 1e4, 1e9])


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 1000), EXTREME, EXTREME, EXTREME, EXTREME, EXTREME)
def test_features_are_finite_and_bounded_whatever_the_system(
    seed: int, rate: float, steps: float, slo: float, memory: float, horizon: float
) -> None:
    one = drawn(6, seed)
    table = StepTable(*(getattr(one.steps, f) * steps for f in (*STEPS[:4], "noise", "pair_s")))
    table = replace(table, noise=one.steps.noise)
    machines = replace(one.machines, steps=table, kv_tokens=one.machines.kv_tokens * memory)
    hard = replace(one.slo, ttft_s=one.slo.ttft_s * slo, gap_max_s=one.slo.gap_max_s / slo)
    odd = replace(one, machines=machines, slo=hard, rate_rps=one.rate_rps * rate)
    played = game(odd, horizon_s=np.full(6, horizon), rules=Rules(noise=0.1))
    rng = np.random.default_rng(seed)
    with np.errstate(all="ignore"):
        for _ in range(3):
            told = played.observation()
            assert told.shape == (6, len(FEATURES))
            assert told.dtype == np.float32
            assert np.isfinite(told).all()
            assert (np.abs(told) <= BOUND).all()
            played.step(rng.integers(-1, 2, (6, KNOBS)))


def test_a_machine_twice_as_slow_with_half_the_load_and_twice_the_targets_looks_the_same() -> None:
    one = drawn(60, 4)
    steps = StepTable(*(getattr(one.steps, f) * 2 for f in (*STEPS[:4], "noise", "pair_s")))
    steps = replace(steps, noise=one.steps.noise)
    m = one.machines
    machines = replace(
        m,
        steps=steps,
        exchange_s=m.exchange_s * 2,
        exchange_token_s=m.exchange_token_s * 2,
        handover_s=m.handover_s * 2,
        rebuild_s=m.rebuild_s * 2,
        idle_w=m.idle_w,
    )
    slo = replace(one.slo, **{f: getattr(one.slo, f) * 2 for f in vars(one.slo)})
    slow = replace(
        one, machines=machines, slo=slo, rate_rps=one.rate_rps / 2, patience_s=one.patience_s * 2
    )
    fast, half = (
        game(systems, horizon_s=np.full(60, hours)).observation()
        for systems, hours in ((one, 600.0), (slow, 1200.0))
    )
    # Overload is judged over a window of fixed length, and a timeout is in milliseconds: the same
    # in all else.
    calm = fast[:, FEATURES.index("log_served")] > -1e-6
    alike = [i for i, name in enumerate(FEATURES) if "timeout" not in name]
    assert calm.sum() > 10
    np.testing.assert_allclose(fast[calm][:, alike], half[calm][:, alike], atol=2e-3)


@pytest.mark.parametrize("kind", list(GoalKind))
def test_the_goal_is_seen(kind: GoalKind) -> None:
    systems = drawn()
    played = game(systems, goals=GoalTable.of([Goal(kind, 0.9)] * len(systems)))
    for other in GoalKind:
        assert (seen(played, f"goal_{other.value}") == float(other == kind)).all()
    if kind is GoalKind.GOODPUT:
        assert (seen(played, "log_taken") == 0).all()
    else:
        assert seen(played, "log_taken").std() > 0


def test_what_a_rebuild_costs_against_the_horizon_is_seen() -> None:
    systems = drawn()
    soon, late = (game(systems, horizon_s=np.full(24, s)) for s in (60.0, 3600.0))
    assert (seen(soon, "log_rebuild_to_horizon") > seen(late, "log_rebuild_to_horizon")).all()
    assert (seen(game(systems), "log_rebuild_to_horizon") == -BOUND).all()
    assert (seen(soon, "rebuilds_weight_dtype") == 1).all()
    assert (seen(soon, "rebuilds_max_num_seqs") == 0).all()


def test_where_a_knob_stands_and_can_go_is_seen() -> None:
    played = game(drawn())
    assert (seen(played, "position_max_num_seqs") == -1).all()
    assert (seen(played, "can_rise_max_num_seqs") == 1).all()
    assert (seen(played, "can_fall_max_num_seqs") == 0).all()
    up = np.zeros((24, KNOBS), dtype=np.int64)
    up[:, 0] = 1
    played.step(up)
    assert (seen(played, "position_max_num_seqs") == 1).all()
    assert (seen(played, "can_rise_max_num_seqs") == 0).all()
    assert (seen(played, "last_move_max_num_seqs") == 1).all()


def test_a_size_that_the_machine_has_no_room_for_is_seen_as_no_way_up() -> None:
    systems = drawn()
    full = replace(systems, machines=replace(systems.machines, cores=np.ones(24, np.int64)))
    assert (seen(game(full), "can_rise_tensor_parallel_size") == 0).all()
    roomy = replace(systems, machines=replace(systems.machines, cores=np.full(24, 2)))
    assert (seen(game(roomy), "can_rise_tensor_parallel_size") == 1).all()


def test_memory_and_forecast_are_seen() -> None:
    systems = drawn()
    endless = replace(systems.machines, kv_tokens=np.full(24, np.inf))
    assert (seen(game(replace(systems, machines=endless)), "log_kv_load") == -BOUND).all()
    tight = replace(systems.machines, kv_tokens=np.full(24, 4000.0))
    assert (seen(game(replace(systems, machines=tight)), "log_kv_load") > -BOUND).all()
    rising = game(systems, forecast_ratio=np.full(24, 2.0))
    np.testing.assert_allclose(seen(rising, "log_forecast_to_rate"), np.log(2), rtol=1e-5)
