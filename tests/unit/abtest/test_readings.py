"""Energy, heat and memory from gauges that were read now and then."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autotuner.abtest.readings import energy_j, hottest_c, out_of_memory
from autotuner.domain.telemetry import Reading


def power(*points: tuple[float, float]) -> list[Reading]:
    return [Reading(at, {"power_w": watts}) for at, watts in points]


def every(seconds: float, watts: float, until: float = 60.0) -> list[Reading]:
    return power(*((i * seconds, watts) for i in range(int(until / seconds) + 1)))


def test_constant_power_is_power_times_time() -> None:
    assert energy_j(every(5, 200), 12, 48) == pytest.approx(200 * 36)


def test_between_readings_power_is_a_straight_line() -> None:
    ramp = power(*((float(at), 10.0 * at) for at in range(0, 61, 5)))
    assert energy_j(ramp, 2.5, 57.5) == pytest.approx(10 * (57.5**2 - 2.5**2) / 2)


@given(st.floats(1, 50), st.floats(0, 9), st.floats(21, 29))
@settings(deadline=None, max_examples=40)
def test_energy_adds_up(scale: float, first: float, middle: float) -> None:
    seen = power(*((float(at), scale * (1 + math.sin(at))) for at in range(0, 61, 3)))
    parts = energy_j(seen, first, middle) + energy_j(seen, middle, 55)
    assert parts == pytest.approx(energy_j(seen, first, 55), rel=1e-9)


@pytest.mark.parametrize(
    "readings",
    [
        [],
        every(5, 200)[:1],
        every(5, 200)[3:],  # begins after the start
        every(5, 200)[:-4],  # ends before the end
        every(5, 200)[:4] + every(5, 200)[8:],  # a hole of five cycles
        power((0, 200), (60, 200)),  # too few for a curve
        [Reading(r.at, {"temperature_c": 50.0}) for r in every(5, 200)],
        [Reading(r.at, {"power_w": math.nan}) for r in every(5, 200)],
    ],
)
def test_power_that_is_not_known_throughout_is_no_energy(readings: list[Reading]) -> None:
    assert math.isnan(energy_j(readings, 12, 48))


def test_a_missed_cycle_or_two_are_no_hole() -> None:
    seen = every(5, 200)
    assert energy_j(seen[:4] + seen[6:], 12, 48) == pytest.approx(200 * 36)


def test_the_hottest_reading_of_the_time() -> None:
    seen = [Reading(at, {"temperature_c": heat}) for at, heat in ((0, 90.0), (5, 60.0), (9, 70.0))]
    assert hottest_c(seen, 1, 9) == 70
    assert math.isnan(hottest_c(seen, 10, 20))


def test_events_are_rises_since_the_first_reading() -> None:
    def at(*counts: tuple[float, float]) -> list[Reading]:
        return [Reading(when, {"out_of_memory_total": count}) for when, count in counts]

    seen = at((0, 7), (5, 7), (10, 9), (15, 9), (20, 1))
    assert out_of_memory(seen, 0, 30) == 3  # 2, and 1 since it began anew
    assert out_of_memory(seen, 10, 15) == 0
    assert out_of_memory(seen, 5, 10) == 2
    assert out_of_memory(at((5, 7)), 0, 30) == 0
    assert out_of_memory([], 0, 30) == 0
