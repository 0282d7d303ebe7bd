from __future__ import annotations

from autotuner.targets.capabilities import Capability, IntRange
from autotuner.targets.memory import MemoryTarget
from tests.unit.requests_seen import SERVED


def test_a_reader_that_is_late_sees_the_overrun() -> None:
    target = MemoryTarget({"k": 1}, {"k": Capability(IntRange(1, 2))}, lambda: 5.0, ring_size=3)
    for _ in range(3):
        target.finish(SERVED)
    assert not target.exposures(0).overrun
    target.finish(SERVED)
    assert target.exposures(0).overrun
    late = target.exposures(1)
    assert [e.seq for e in late.exposures] == [2, 3, 4]
    assert not late.overrun


def test_requests_in_flight_are_those_it_was_told() -> None:
    target = MemoryTarget({"k": 1}, {}, lambda: 5.0)
    target.set_in_flight({1: 3})
    assert target.exposures(0).in_flight == {1: 3}
    target.restart()
    assert target.exposures(0).in_flight == {}
