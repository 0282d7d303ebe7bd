from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotuner.alerts.limits import Limit, LimitKind
from autotuner.alerts.usual import Usual
from autotuner.domain.errors import ConfigError

USUAL = Usual(median=10.0, p05=8.0, p99=20.0)
STEADY = Usual(median=10.0, p05=9.9, p99=10.1)


@pytest.mark.parametrize(
    ("limit", "usual", "level"),
    [
        (Limit(LimitKind.ABOVE, 3.0), None, 3.0),
        (Limit(LimitKind.BELOW, 3.0), USUAL, 3.0),
        (Limit(LimitKind.TIMES_P99, 2.0), USUAL, 40.0),
        (Limit(LimitKind.DOWN, 0.05), STEADY, 9.5),
        (Limit(LimitKind.DOWN, 0.05), USUAL, 6.0),
    ],
)
def test_the_level_of_each_kind(limit: Limit, usual: Usual | None, level: float) -> None:
    assert limit.level(usual) == pytest.approx(level)


@pytest.mark.parametrize("kind", [LimitKind.TIMES_P99, LimitKind.DOWN])
@pytest.mark.parametrize("usual", [None, Usual(0.0, 0.0, 0.0), Usual(-2.0, -3.0, -1.0)])
def test_a_past_that_says_nothing_gives_no_level(kind: LimitKind, usual: Usual | None) -> None:
    level = Limit(kind, 0.5).level(usual)
    assert math.isnan(level)
    assert not Limit(kind, 0.5).crossed(1e9, level)


def test_the_low_of_every_night_is_no_drop() -> None:
    load = 10.0 + 5.0 * np.cos(np.linspace(0.0, 2.0 * math.pi, 1440))
    p05, median, p99 = np.quantile(load, (0.05, 0.5, 0.99))
    usual = Usual(float(median), float(p05), float(p99))
    limit = Limit(LimitKind.DOWN, 0.05)
    assert not limit.crossed(float(load.min()), limit.level(usual))


def test_hysteresis_by_a_level_or_by_a_margin() -> None:
    hot = Limit(LimitKind.ABOVE, 90.0, clear=80.0)
    assert hot.crossed(90.1, 90.0)
    assert [hot.well(value, 90.0) for value in (85.0, 80.1, 80.0)] == [False, False, True]
    margin = Limit(LimitKind.BELOW, 100.0)
    assert [margin.well(value, 100.0) for value in (100.0, 104.9, 105.0)] == [False, False, True]
    at_once = Limit(LimitKind.ABOVE, 90.0, clear=90.0)
    assert at_once.well(90.0, 90.0)


def test_a_limit_of_zero_needs_no_margin() -> None:
    assert Limit(LimitKind.ABOVE, 0.0).well(0.0, 0.0)


@pytest.mark.parametrize(
    ("kind", "figure", "clear", "margin", "told"),
    [
        (LimitKind.ABOVE, math.inf, None, 0.05, "above=inf: give a finite number"),
        (LimitKind.TIMES_P99, 0.0, None, 0.05, "times_p99=0.0: give a factor"),
        (LimitKind.DOWN, 1.0, None, 0.05, "down=1.0: give a share"),
        (LimitKind.DOWN, 0.1, 0.05, 0.05, "leave clear out"),
        (LimitKind.ABOVE, 1.0, 1.1, 0.05, "clear=1.1: give a level at or below 1"),
        (LimitKind.BELOW, 1.0, 0.9, 0.05, "clear=0.9: give a level at or above 1"),
        (LimitKind.ABOVE, 1.0, math.nan, 0.05, "clear=nan"),
        (LimitKind.ABOVE, 1.0, None, 1.0, "margin=1.0"),
    ],
)
def test_limits_that_could_never_work_are_refused(
    kind: LimitKind, figure: float, clear: float | None, margin: float, told: str
) -> None:
    with pytest.raises(ConfigError, match=told):
        Limit(kind, figure, clear, margin)


@given(
    st.sampled_from([LimitKind.ABOVE, LimitKind.BELOW]),
    st.floats(-1e6, 1e6),
    st.floats(-1e6, 1e6),
)
def test_no_value_is_both_crossed_and_well(kind: LimitKind, figure: float, value: float) -> None:
    limit = Limit(kind, figure)
    assert not (limit.crossed(value, figure) and limit.well(value, figure))


def test_the_words_say_where_the_level_comes_from() -> None:
    assert Limit(LimitKind.ABOVE, 0.9).words(0.9) == "above 0.9"
    assert Limit(LimitKind.TIMES_P99, 2.0).words(0.8) == "above 0.8 (2 × its P99)"
    told = Limit(LimitKind.DOWN, 0.05).words(9.5)
    assert told == "below 9.5 (down more than 0.05 of its median)"
