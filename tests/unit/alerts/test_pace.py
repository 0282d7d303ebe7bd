from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotuner.alerts.pace import WINDOW_S, Pace


@given(st.integers(1, 5), st.lists(st.floats(0.0, 40.0), max_size=60))
def test_no_minute_has_more_than_the_limit(limit: int, gaps: list[float]) -> None:
    pace, now, made = Pace(limit), 0.0, list[float]()
    for gap in gaps:
        now += gap
        if pace.free(now):
            pace.count(now)
            made.append(now)
    for start in made:
        assert sum(start <= at <= start + WINDOW_S for at in made) <= limit


@given(st.integers(1, 5), st.lists(st.floats(0.0, 40.0), max_size=60))
def test_what_the_limit_allows_is_free(limit: int, gaps: list[float]) -> None:
    pace, now, made = Pace(limit), 0.0, list[float]()
    for gap in gaps:
        now += gap
        recent = sum(now - at <= WINDOW_S for at in made)
        assert pace.free(now) == (recent < limit)
        if pace.free(now):
            pace.count(now)
            made.append(now)


def test_a_minute_counts_both_of_its_ends() -> None:
    pace = Pace(1)
    pace.count(0.0)
    assert not pace.free(WINDOW_S)
    assert pace.free(WINDOW_S + 0.001)


def test_a_limit_of_none_is_refused() -> None:
    with pytest.raises(ValueError, match="limit=0"):
        Pace(0)
