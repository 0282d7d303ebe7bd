"""Energy between two readings of meters: counters first, power where they fail, else unknown."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autotuner.domain.energy import (
    COUNTER,
    POWER,
    WRAPPING_LIMIT_W,
    Joules,
    Meter,
    Metering,
    Stretch,
    all_devices,
    complete,
    known,
    total_j,
    used,
)

RANGE_J = 65_532.61  # of an AMD socket; 262_143.3 of most of Intel's


def rapl(*joules: float) -> Metering:
    names = [f"package-{i}" for i in range(len(joules))]
    ranges = dict.fromkeys(names, RANGE_J)
    return {"rapl": Meter(dict(zip(names, joules, strict=True)), ranges)}


def drawing(watts: float, joules: float | None = None) -> Metering:
    return {"nvml": Meter({} if joules is None else {"gpu0": joules}, power_w={"gpu0": watts})}


def over(before: Metering, after: Metering, gap_s: float = 10.0) -> float:
    return total_j(used(before, after, Stretch.whole(gap_s)))


def test_counters_of_two_sockets_add_up() -> None:
    assert over(rapl(100, 200), rapl(1100, 1700)) == 2500


@given(st.floats(0, RANGE_J, exclude_max=True), st.floats(0, WRAPPING_LIMIT_W))
@settings(deadline=None, max_examples=60)
def test_a_counter_that_wrapped_counts_on(first: float, watts: float) -> None:
    later = math.fmod(first + 10 * watts, RANGE_J)
    assert over(rapl(first), rapl(later)) == pytest.approx(10 * watts, abs=1e-6)


def test_a_fall_that_no_processor_could_draw_is_a_reset_and_not_a_wrap() -> None:
    assert math.isnan(over(rapl(40_000), rapl(10)))


def test_a_counter_that_may_have_wrapped_unseen_is_not_known() -> None:
    longest_s = RANGE_J / WRAPPING_LIMIT_W
    assert over(rapl(100), rapl(600), longest_s - 1) == 500
    assert math.isnan(over(rapl(100), rapl(600), longest_s + 1))
    # A GPU's counter has no range to wrap in.
    assert over(drawing(1, 100), drawing(1, 600), 3600) == 500


def test_counters_go_before_power() -> None:
    assert used(drawing(9, 100), drawing(9, 600), Stretch.whole(10)) == {
        "nvml": Joules(500, COUNTER)
    }
    assert used(drawing(9, 600), drawing(11, 100), Stretch.whole(10)) == {
        "nvml": Joules(100, POWER)
    }


def test_power_is_a_straight_line_and_no_bridge_over_a_gap() -> None:
    assert over(drawing(100), drawing(200)) == 1500
    part = used(drawing(100), drawing(200), Stretch(10, 0, 5))
    assert part["nvml"].value == pytest.approx(125 * 5)
    assert math.isnan(over(drawing(100), drawing(200), 61))


def test_of_counters_far_apart_only_the_whole_is_known() -> None:
    far = Stretch(100, 0, 100), Stretch(100, 50, 100)
    whole, part = (used(drawing(1, 100), drawing(1, 600), s)["nvml"].value for s in far)
    assert whole == 500
    assert math.isnan(part)
    near = used(drawing(1, 100), drawing(1, 600), Stretch(10, 5, 10))
    assert near["nvml"].value == 250


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (rapl(1), {}),
        ({}, rapl(1)),
        (rapl(1), {"rapl": None}),
        (rapl(1), {"rapl": Meter()}),
        (rapl(1, 1), rapl(2)),
        (rapl(1), rapl(2, 2)),
        (rapl(1), {**rapl(2), "gpu": None}),
        ({}, {}),
    ],
)
def test_what_one_side_did_not_tell_is_not_known(before: Metering, after: Metering) -> None:
    assert math.isnan(over(before, after))


def test_a_reading_is_complete_when_every_device_told() -> None:
    both, one = rapl(1, 1), rapl(1)
    devices = all_devices([one, both, {"gpu": None}, {"rapl": Meter()}])
    assert devices == {"rapl": frozenset({"package-0", "package-1"})}
    assert complete(both, devices)
    assert not complete(one, devices)
    assert not complete({**both, "gpu": None}, devices)
    assert [known(m) for m in (both, {}, {"rapl": None}, {"rapl": Meter()})] == [True] + [False] * 3
