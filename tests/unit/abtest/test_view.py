"""What is still in flight belongs to the lane that admitted it, where that is told."""

from __future__ import annotations

import pytest

from autotuner.abtest.view import View, lanes_restarted
from autotuner.domain.experiment import Arm, Slot


def slot(lane: int, lanes: int = 2) -> Slot:
    return Slot(lane, Arm.CONTROL, 7, 0.0, lane=lane, lanes=lanes)


def test_with_one_lane_all_that_is_in_flight_is_the_slots() -> None:
    view = View(None, in_flight={7: 3, 6: 9})
    assert view.unfinished_of(slot(0, 1)) == 3
    assert not view.drained(slot(0, 1))
    assert View(None, in_flight={6: 9}).drained(slot(0, 1))


@pytest.mark.parametrize("left", [0, 1, 2, 7])
def test_where_lanes_are_not_told_the_rest_is_shared_out_and_none_is_drained(left: int) -> None:
    view = View(None, in_flight={7: left})
    shares = [view.unfinished_of(slot(lane)) for lane in range(2)]
    assert sum(shares) == left
    assert abs(shares[0] - shares[1]) <= 1
    assert [view.drained(slot(lane)) for lane in range(2)] == [left == 0] * 2


def test_where_lanes_are_told_each_slot_has_its_own() -> None:
    view = View(None, in_flight={7: 4}, lanes_in_flight=({}, {7: 4}))
    assert [view.unfinished_of(slot(lane)) for lane in range(2)] == [0, 4]
    assert [view.drained(slot(lane)) for lane in range(2)] == [True, False]


def test_a_restarted_replica_names_its_lane() -> None:
    assert lanes_restarted("a+b+c", "a+b+x") == (0,)
    assert lanes_restarted("a+b", "x+y") == (0, 1)
    assert lanes_restarted("a+b", "a+b+c") == ()
    assert lanes_restarted("a", "b") == ()
