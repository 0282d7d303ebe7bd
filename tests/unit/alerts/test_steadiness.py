from __future__ import annotations

import math

import numpy as np
import pytest

from autotuner.alerts.limits import Limit, LimitKind
from autotuner.alerts.steadiness import Steadiness
from autotuner.alerts.usual import Past


def seen(*counts: float, length_s: float = 5.0) -> list[float]:
    steadiness, values = Steadiness(), []
    for i, count in enumerate(counts):
        steadiness.add(length_s * (i + 1), length_s, count)
        values.append(steadiness.value)
    return values


def test_a_level_rate_is_perfectly_steady() -> None:
    values = seen(*[50.0] * 40)
    assert math.isnan(values[28])  # nine parts of 15 s
    assert values[-1] == 1.0


def test_a_service_that_nobody_asks_has_no_steadiness() -> None:
    assert math.isnan(seen(*[0.0] * 100)[-1])


def test_windows_without_a_count_are_left_out() -> None:
    assert seen(*[50.0, math.nan] * 60)[-1] == 1.0


def test_it_is_one_minus_the_coefficient_of_variation() -> None:
    values = seen(*[1.0, 3.0] * 10, length_s=15.0)
    assert values[-1] == pytest.approx(0.5)


def test_halving_shows_for_longer_than_the_rule_waits_and_then_it_is_steady_again() -> None:
    values = seen(*[100.0] * 120, *[50.0] * 120)
    lower = [5.0 * i for i, value in enumerate(values) if value < 0.95]
    assert min(lower) >= 600.0
    assert max(lower) - min(lower) > 180.0
    assert values[-1] == 1.0


@pytest.mark.parametrize("rate_rps", [0.5, 3.0, 50.0])
def test_arrivals_by_chance_are_no_drop_of_steadiness(rate_rps: float) -> None:
    """The rule `down: 0.05` for 180 s over a day of Poisson arrivals: rare at any rate."""
    counts = np.random.default_rng(7).poisson(15.0 * rate_rps, size=5760)
    values = seen(*map(float, counts), length_s=15.0)
    limit, past, episodes, since = Limit(LimitKind.DOWN, 0.05), Past(), 0, 0
    for i, value in enumerate(values):
        past.add(15.0 * i, value)
        below = limit.crossed(value, limit.level(past.usual))
        since = since + 1 if below else 0
        episodes += since == 12
    assert episodes <= 1
