from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotuner.domain.errors import ConfigError
from autotuner.load.arrivals import (
    Bursts,
    RateCurve,
    arrival_times,
    bursty,
    diurnal,
    steady,
    steps,
)
from autotuner.load.kinds import Process


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.mark.parametrize("process", list(Process))
def test_the_mean_rate_is_kept(process: Process) -> None:
    times = arrival_times(steady(5.0, 2000.0), process, rng(), cv=2.0)
    # Within five standard errors of a count whose variance is cv² times the mean.
    assert len(times) == pytest.approx(10_000, abs=5 * 2 * 100)
    assert np.all(np.diff(times) >= 0)
    assert times[0] >= 0
    assert times[-1] < 2000


@pytest.mark.parametrize(
    ("process", "cv", "expected"),
    [(Process.POISSON, 7.0, 1.0), (Process.GAMMA, 3.0, 3.0), (Process.GAMMA, 0.5, 0.5)],
)
def test_gaps_have_the_asked_variation(process: Process, cv: float, expected: float) -> None:
    gaps = np.diff(arrival_times(steady(1.0, 40_000.0), process, rng(1), cv))
    assert gaps.std() / gaps.mean() == pytest.approx(expected, rel=0.1)


def test_constant_arrivals_are_evenly_spaced() -> None:
    times = arrival_times(steady(4.0, 10.0), Process.CONSTANT, rng())
    assert len(times) == 40
    assert np.diff(times) == pytest.approx(np.full(39, 0.25))


def test_the_same_seed_gives_the_same_arrivals() -> None:
    curve = steady(3.0, 50.0)
    first, second = (arrival_times(curve, Process.POISSON, rng(7)) for _ in range(2))
    assert np.array_equal(first, second)
    assert not np.array_equal(first, arrival_times(curve, Process.POISSON, rng(8)))


def test_steps_follow_their_rates() -> None:
    curve = steps([(100.0, 2.0), (50.0, 0.0), (100.0, 8.0)])
    times = arrival_times(curve, Process.CONSTANT, rng())
    assert [int(np.sum((times >= a) & (times < b))) for a, b in ((0, 100), (100, 150))] == [200, 0]
    assert len(times) == 1000
    assert curve.mean_rps == pytest.approx(4.0)


def test_a_day_has_its_trough_first_and_its_peak_at_noon() -> None:
    curve = diurnal(10.0, 240.0, 240.0, swing=0.5)
    rates = np.array(curve.rates_rps)
    assert curve.mean_rps == pytest.approx(10.0)
    assert rates[0] == pytest.approx(5.0, rel=0.01)
    assert rates.max() == pytest.approx(15.0, rel=0.01)
    assert int(rates.argmax()) in (47, 48)


def test_bursts_have_two_rates_and_the_asked_mean() -> None:
    curve = bursty(3.0, 1000.0, rng(2), Bursts(factor=5.0, on_s=10.0, off_s=30.0))
    rates = sorted(set(np.round(curve.rates_rps, 9)))
    assert len(rates) == 2
    assert rates[1] / rates[0] == pytest.approx(5.0)
    assert curve.mean_rps == pytest.approx(3.0)
    assert curve.duration_s == pytest.approx(1000.0, abs=2e-3)


def test_no_rate_no_arrival() -> None:
    assert len(arrival_times(steady(0.0, 10.0), Process.POISSON, rng())) == 0


@pytest.mark.parametrize(
    ("edges", "rates", "said"),
    [
        ((0.0, 1.0), (1.0, 2.0), "one edge more"),
        ((0.0, 0.0), (1.0,), "edges must rise"),
        ((0.0, 1.0), (-1.0,), "not negative"),
        ((0.0, 1.0), (float("nan"),), "finite"),
    ],
)
def test_a_curve_that_makes_no_sense_is_refused(
    edges: tuple[float, ...], rates: tuple[float, ...], said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        RateCurve(edges, rates)


@pytest.mark.parametrize("cv", [0.0, -1.0, float("nan")])
def test_gamma_needs_a_variation(cv: float) -> None:
    with pytest.raises(ConfigError, match="give a number above 0"):
        arrival_times(steady(1.0, 5.0), Process.GAMMA, rng(), cv)


@given(
    st.lists(st.tuples(st.floats(0.1, 20), st.floats(0, 20)), min_size=1, max_size=6),
    st.sampled_from(list(Process)),
    st.integers(0, 1000),
)
def test_arrivals_rise_and_stay_where_there_is_traffic(
    parts: list[tuple[float, float]], process: Process, seed: int
) -> None:
    curve = steps(parts)
    times = arrival_times(curve, process, rng(seed), cv=1.5)
    assert np.all(np.diff(times) >= 0)
    assert np.all((times >= 0) & (times <= curve.duration_s + 1e-9))
    for start, end, rate in zip(
        curve.edges_s[:-1], curve.edges_s[1:], curve.rates_rps, strict=True
    ):
        if rate == 0:
            assert not np.any((times > start + 1e-9) & (times < end - 1e-9))
