from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from autotuner.forecast.novelty import Gauge, Novelty, NoveltyRules, Yardstick, judged

RULES = NoveltyRules(
    sudden=Yardstick(points=2, limit=5.0),
    lasting=Yardstick(points=4, limit=5.0),
    block_points=2,
    blocks=10,
    min_blocks=3,
    habit=0.5,
    habit_half_life=10.0,
)


def followed(values: list[float], rules: NoveltyRules = RULES) -> tuple[Novelty, list[float]]:
    past, strengths = Novelty(), []
    for value in values:
        past, strength = judged(past, value, lambda _: 1.0, rules)
        strengths.append(strength)
    return past, strengths


def test_a_distance_is_in_standard_deviations_of_the_means_before() -> None:
    gauge = Gauge()
    for mean in (9.0, 10.0, 11.0):
        gauge = gauge.remembering(mean, RULES)
    assert gauge.level == 10.0
    assert gauge.sd == pytest.approx(1.4826)
    assert gauge.distance(12.9652, least_sd=0.0) == pytest.approx(2.0)
    assert gauge.distance(7.0, least_sd=3.0) == pytest.approx(1.0)


def test_nothing_is_odd_before_enough_blocks() -> None:
    past, strengths = followed([0.0, 0.0, 0.0, 0.0, 0.0])
    assert not past.sudden.known
    assert set(strengths) == {0.0}
    past, strengths = followed([0.0] * 6 + [20.0])
    assert past.sudden.known
    assert strengths[-1] == pytest.approx(2.0)  # a mean of 10 over a limit of 5 sd of 1


def test_the_longer_yardstick_sees_what_lasts() -> None:
    patient = NoveltyRules(
        sudden=Yardstick(2, 12.0), lasting=Yardstick(4, 5.0), block_points=2, min_blocks=3
    )
    _, strengths = followed([0.0] * 6 + [10.0] * 4, patient)
    assert [s > 1.0 for s in strengths[6:]] == [False, False, True, True]


def test_what_was_as_large_of_late_is_less_odd() -> None:
    patient = replace(RULES, blocks=1000)
    calm = [0.0] * 200
    _, strengths = followed([*calm, 100.0, *calm[:9], 100.0], patient)
    assert strengths[200] == pytest.approx(10.0)
    # The mean was largest until 8 points before; half of that counts, less what it has decayed.
    assert strengths[-1] == pytest.approx(2.0 * 2.0**0.8)
    _, later = followed([*calm, 100.0, *calm, 100.0], patient)
    assert later[-1] == pytest.approx(10.0)


def test_memory_is_bounded() -> None:
    past, _ = followed([float(x) for x in np.random.default_rng(0).normal(0, 1, 200)])
    assert len(past.recent) == 4
    assert len(past.sudden.means) == len(past.lasting.means) == 10


def test_a_block_adds_one_mean_of_each_length() -> None:
    past, _ = followed([1.0, 3.0, 5.0, 7.0])
    assert past.sudden.means == (2.0, 6.0)
    assert past.lasting.means == (2.0, 4.0)


def test_an_interruption_forgets_the_last_points_alone() -> None:
    past, _ = followed([0.0] * 9)
    after = past.interrupted()
    assert after.recent == ()
    assert after.sudden == past.sudden
    _, strength = judged(after, 20.0, lambda _: 1.0, RULES)
    assert strength == pytest.approx(4.0)


def test_the_least_spread_may_depend_on_the_level() -> None:
    levels: list[float] = []

    def least(level: float) -> float:
        levels.append(level)
        return 1.0

    past, _ = followed([7.0] * 6)
    judged(past, 7.0, least, RULES)
    assert levels == [7.0, 7.0]
    assert math.isnan(Gauge().level)
