"""The time constant of a target, found again in simulated series and switches."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from autotuner.abtest.relaxation import relaxation_of_series, relaxation_of_switches

Floats = NDArray[np.float64]


def remembering(tau_s: float, seconds: int, seed: int) -> Floats:
    """A series that forgets with `tau_s`, one value a second, of unit variance."""
    rng = np.random.default_rng(seed)
    keep = math.exp(-1 / tau_s) if tau_s > 0 else 0.0
    values = np.empty(seconds)
    values[0] = rng.standard_normal()
    for t in range(1, seconds):
        values[t] = keep * values[t - 1] + math.sqrt(1 - keep**2) * rng.standard_normal()
    return values


@pytest.mark.parametrize("tau_s", [5.0, 10.0, 30.0])
def test_memory_is_found_within_a_factor_of_two(tau_s: float) -> None:
    times = np.arange(3600.0)
    found = [
        relaxation_of_series(times.tolist(), remembering(tau_s, 3600, seed).tolist(), 1.0)
        for seed in range(9)
    ]
    assert tau_s / 2 < float(np.nanmedian(found)) < 2 * tau_s


def test_memory_is_found_under_the_noise_of_single_requests() -> None:
    """Two requests a second, each far noisier than what the seconds share."""
    rng = np.random.default_rng(5)
    found = []
    for seed in range(9):
        level = remembering(10.0, 3600, seed)
        times = np.sort(rng.uniform(0, 3600, 7200))
        values = level[times.astype(int)] + 2.0 * rng.standard_normal(7200)
        found.append(relaxation_of_series(times.tolist(), values.tolist(), 1.0))
    assert 4.0 < float(np.nanmedian(found)) < 25.0


def test_seconds_that_share_nothing_have_no_memory() -> None:
    times = np.arange(1800.0).tolist()
    found = [
        relaxation_of_series(times, remembering(0.0, 1800, seed).tolist(), 1.0)
        for seed in range(20)
    ]
    assert sum(tau == 0.0 for tau in found) >= 18


def test_a_slow_drift_is_not_taken_for_memory() -> None:
    """Load that swings over an hour: no switch of settings is remembered that long."""
    rng = np.random.default_rng(3)
    times = np.arange(1800.0)
    drift = np.sin(2 * math.pi * times / 3600) + 0.1 * rng.standard_normal(1800)
    found = relaxation_of_series(times.tolist(), drift.tolist(), 1.0)
    assert math.isnan(found) or found == 0.0


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_a_constant_outcome_has_no_memory(value: float) -> None:
    assert relaxation_of_series(np.arange(600.0).tolist(), [value] * 600, 1.0) == 0.0


def test_a_short_past_says_nothing() -> None:
    assert math.isnan(relaxation_of_series([0.0, 1.0, 2.0], [1.0, 2.0, 3.0], 1.0))
    assert math.isnan(relaxation_of_series([], [], 1.0))


def switched(tau_s: float, trace: float, seed: int) -> tuple[Floats, Floats]:
    """Twenty slots of a minute, three requests a second, unit noise."""
    rng = np.random.default_rng(seed)
    since = np.sort(rng.uniform(0, 60, 20 * 180))
    return since, trace * np.exp(-since / tau_s) + rng.standard_normal(since.size)


@pytest.mark.parametrize("tau_s", [3.0, 10.0])
def test_settling_is_found_within_a_factor_of_two(tau_s: float) -> None:
    found = [relaxation_of_switches(*switched(tau_s, 2.0, seed), 60.0) for seed in range(9)]
    assert tau_s / 2 < float(np.nanmedian(found)) < 2 * tau_s


def test_where_nothing_is_left_behind_nothing_is_known() -> None:
    found = [relaxation_of_switches(*switched(5.0, 0.0, seed), 60.0) for seed in range(20)]
    assert sum(math.isnan(tau) for tau in found) >= 18
