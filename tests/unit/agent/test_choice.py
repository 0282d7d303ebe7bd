from __future__ import annotations

import numpy as np
import pytest

from autotuner.agent.choice import Appetite, allowed, expected_above, scores

NO_CHARGE = np.zeros(2)


def worth(mean: list[float], deviation: list[float], cap: float = 1.0) -> list[float]:
    told = scores(np.array(mean), np.array(deviation), NO_CHARGE, 0.01, cap, Appetite())
    return [float(value) for value in told]


def test_the_expectation_above_zero_is_that_of_many_draws() -> None:
    drawn = np.random.default_rng(0).normal(0.1, 0.3, 400_000)
    told = expected_above(np.array([0.1]), np.array([0.3]))[0]
    assert told == pytest.approx(np.maximum(drawn, 0).mean(), abs=2e-3)


def test_more_gain_is_worth_more_and_so_is_more_doubt_among_equals() -> None:
    better, worse = worth([0.2, 0.1], [0.05, 0.05])
    assert better > worse
    unsure, sure = worth([0.0, 0.0], [0.1, 0.02])
    assert unsure > sure


def test_doubt_beyond_what_is_possible_is_worth_nothing() -> None:
    open_, capped = worth([0.0, 0.0], [0.2, 0.2])[0], worth([0.0, 0.0], [0.2, 0.2], cap=0.03)[0]
    assert open_ > 0.03
    assert capped < 0


def test_what_a_change_costs_is_taken_off() -> None:
    mean, deviation = np.array([0.1, 0.1]), np.array([0.02, 0.02])
    free, dear = scores(mean, deviation, np.array([0.0, 0.08]), 0.0, 1.0, Appetite())
    assert free - dear == pytest.approx(0.08, abs=0.005)


def test_probable_harm_and_hopeless_candidates_are_not_allowed() -> None:
    mean, deviation = np.array([0.1, 0.0, -0.05]), np.array([0.05, 0.001, 0.2])
    assert allowed(mean, deviation, np.zeros(3), 0.02, Appetite()).tolist() == [True, False, False]
