from __future__ import annotations

import math

import numpy as np
import pytest

from autotuner.alerts.usual import Past, Pasts, Span, Usual

BRIEF = Span(length_s=1000.0, every_s=10.0, lag_s=0.0, min_points=5)


def test_too_little_past_says_nothing() -> None:
    past = Past(BRIEF)
    past.extend((10.0 * i, 1.0) for i in range(4))
    assert past.usual is None
    past.add(40.0, 1.0)
    assert past.usual == Usual(1.0, 1.0, 1.0)


def test_the_quantiles_are_those_of_single_values() -> None:
    values = np.random.default_rng(0).lognormal(size=100)
    past = Past(BRIEF)
    past.extend(zip(10.0 * np.arange(100), values, strict=True))
    assert past.usual is not None
    p05, median, p99 = np.quantile(values, (0.05, 0.5, 0.99))
    assert past.usual == Usual(median, p05, p99)


def test_one_value_is_kept_per_stretch_and_none_that_is_no_number() -> None:
    past = Past(BRIEF)
    past.extend((float(i), float(i)) for i in range(41))  # kept: 0, 10, 20, 30, 40
    past.add(50.0, math.nan)
    past.add(60.0, math.inf)
    assert past.usual is not None
    assert past.usual.median == 20.0
    assert past.usual.p99 == pytest.approx(39.6)


def test_what_is_too_old_is_forgotten() -> None:
    past = Past(BRIEF)
    past.extend((10.0 * i, 100.0) for i in range(50))
    past.extend((1500.0 + 10.0 * i, 1.0) for i in range(5))
    assert past.usual == Usual(1.0, 1.0, 1.0)


def test_what_happens_now_is_not_compared_with_itself() -> None:
    past = Past(Span(length_s=1000.0, every_s=10.0, lag_s=100.0, min_points=5))
    past.extend((10.0 * i, 1.0) for i in range(20))
    past.extend((200.0 + 10.0 * i, 9.0) for i in range(10))
    assert past.usual == Usual(1.0, 1.0, 1.0)
    past.add(300.0, 9.0)
    assert past.usual is not None
    assert past.usual.p99 > 1.0


def test_a_silence_leaves_the_past_as_it_was() -> None:
    past = Past(BRIEF)
    past.extend((10.0 * i, 2.0) for i in range(10))
    past.add(5000.0, math.nan)
    assert past.usual == Usual(2.0, 2.0, 2.0)


def test_only_the_named_series_are_kept() -> None:
    pasts = Pasts(["a", "b", "a"], BRIEF)
    assert pasts.names == ("a", "b")
    for i in range(6):
        pasts.add(10.0 * i, {"a": 1.0, "c": 3.0})
    assert pasts.usual == {"a": Usual(1.0, 1.0, 1.0)}
    pasts.take_over("b", ((10.0 * i, 2.0) for i in range(6)))
    assert pasts.usual["b"] == Usual(2.0, 2.0, 2.0)
