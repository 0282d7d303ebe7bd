"""Energy, heat and memory from gauges that were read now and then."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autotuner.abtest.readings import energy_j, hottest_c, out_of_memory
from autotuner.domain.energy import Meter
from autotuner.domain.telemetry import Reading


def power(*points: tuple[float, float]) -> list[Reading]:
    return [Reading(at, energy={"nvml": Meter(power_w={"gpu0": w})}) for at, w in points]


def counted(*points: tuple[float, float]) -> list[Reading]:
    """A hardware counter beside a power that is nonsense: it must not be looked at."""
    meters = [(at, Meter({"gpu0": joules}, power_w={"gpu0": 1e6})) for at, joules in points]
    return [Reading(at, energy={"nvml": meter}) for at, meter in meters]


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
        [Reading(r.at, {"power_w": 200.0}) for r in every(5, 200)],  # no meter's
        [replace(r, energy={**r.energy, "rapl": None}) for r in every(5, 200)],
        power(*((5.0 * i, math.nan) for i in range(13))),
    ],
)
def test_power_that_is_not_known_throughout_is_no_energy(readings: list[Reading]) -> None:
    assert math.isnan(energy_j(readings, 12, 48))


def test_a_missed_cycle_or_two_are_no_hole() -> None:
    seen = every(5, 200)
    assert energy_j(seen[:4] + seen[6:], 12, 48) == pytest.approx(200 * 36)


def test_counters_go_before_power_and_bridge_what_was_not_read() -> None:
    seen = counted(*((5.0 * i, 1000 + 1000.0 * i) for i in range(13)))
    assert energy_j(seen, 12, 48) == pytest.approx(200 * 36)
    assert energy_j(seen[:4] + seen[8:], 12, 48) == pytest.approx(200 * 36)
    # Near an end a hole says when nothing was used: it is as open as with power.
    assert math.isnan(energy_j(seen[:2] + seen[6:], 12, 48))


def test_a_reset_is_bridged_by_power_alone() -> None:
    told = [1000.0, 2000.0, 3000.0, 50.0, 1050.0]
    seen = [
        Reading(5.0 * i, energy={"nvml": Meter({"gpu0": joules}, power_w={"gpu0": 100.0})})
        for i, joules in enumerate(told)
    ]
    assert energy_j(seen, 0, 20) == pytest.approx(3 * 1000 + 5 * 100)
    silent = [
        Reading(r.at, energy={"rapl": Meter({"a": j})}) for r, j in zip(seen, told, strict=True)
    ]
    assert math.isnan(energy_j(silent, 0, 20))
    assert energy_j(silent, 0, 10) == pytest.approx(2000)


def test_without_one_of_its_devices_a_target_has_no_energy() -> None:
    """What is left would read as a saving, in the slots after a GPU was lost."""

    def meter(at: float, devices: int) -> Reading:
        return Reading(at, energy={"dcgm": Meter({f"{i}": 100 * at for i in range(devices)})})

    seen = [meter(5.0 * i, 2 if i < 6 else 1) for i in range(13)]
    assert energy_j(seen, 2, 24) == pytest.approx(2 * 100 * 22)
    assert math.isnan(energy_j(seen, 32, 58))


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
