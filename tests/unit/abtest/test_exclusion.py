"""Which pairs do not count, and the small steps around a slot, on hand-made views."""

from __future__ import annotations

from dataclasses import replace

import pytest

from autotuner.abtest.design import arm_of
from autotuner.abtest.exclusion import exclude_disturbed, exclude_pair, excluded_in_a_row
from autotuner.abtest.switchback import abort, advance, slot_started
from autotuner.abtest.view import View
from autotuner.domain.errors import IllegalTransitionError
from autotuner.domain.experiment import Experiment, Phase, Plan, Verdict
from autotuner.domain.knobs import Settings
from autotuner.domain.ports import LiveSettings
from autotuner.domain.slo import SLO

CONTROL, TREATMENT = Settings({"a": 1}), Settings({"a": 2})
TARGETS = SLO(ttft_s=1.0)


def _live(generation: int, now: float, applied_at: float = 0.0) -> LiveSettings:
    return LiveSettings(CONTROL, generation, "b", applied_at, now)


def _planned() -> Experiment:
    return Experiment("e", "t", CONTROL, TREATMENT, Plan(), seed=1, started_at=0.0)


def _with_slots(count: int) -> Experiment:
    """An experiment in the washout of its last slot; the others wait for their requests."""
    test = _planned()
    for index in range(count):
        if index:
            last = replace(test.slots[-1], counted_from=60.0 * index, ended_at=60.0 * index + 55)
            test = test.with_slot(last).to(Phase.COUNTING)
        at = 60.0 * (index + 1)
        test = slot_started(test, _live(index + 1, at, at))
    return test


def test_a_restart_takes_the_pair_along_that_still_waits_for_requests() -> None:
    test = _with_slots(3)
    view = View(_live(1, 190.0), boot_changed=True)
    test = exclude_disturbed(test, view, _live(1, 190.0))
    why = [slot.excluded or "" for slot in test.slots]
    assert "last requests were lost" in why[0]
    assert why[1].startswith("its pair does not count: slot 0")
    assert why[2] == "the target restarted in this slot"
    assert why[3].startswith("its pair does not count: slot 2")
    assert test.phase is Phase.COUNTING
    assert test.slots[3].generation == 0
    assert test.slots[2].ended_at == 190.0


def test_drift_costs_only_the_running_pair() -> None:
    test = exclude_disturbed(_with_slots(3), View(_live(9, 190.0)), _live(9, 190.0))
    assert [slot.excluded is None for slot in test.slots] == [True, True, False, False]


def test_the_row_of_excluded_pairs_skips_one_that_waits() -> None:
    test = _with_slots(5)
    test = exclude_pair(test, test.slots[0], "first", None)
    test = exclude_pair(test, test.slots[4], "third", 400.0)
    assert excluded_in_a_row(test) == ("first", "third")
    assert excluded_in_a_row(_planned()) == ()


def test_a_pair_is_excluded_once() -> None:
    test = _with_slots(2)
    once = exclude_pair(test, test.slots[0], "few requests", 130.0)
    again = exclude_pair(once, once.slots[1], "another reason", 140.0)
    assert once == again


@pytest.mark.parametrize("phase", ["planned", "between"])
def test_asked_again_after_a_failed_apply_it_says_the_same(phase: str) -> None:
    test, view = _planned(), View(_live(1, 10.0))
    if phase == "between":
        test = slot_started(test, _live(1, 0.0))
        for now in (6.0, 70.0):
            test = advance(test, View(_live(1, now)), now, TARGETS).experiment
        view = View(_live(1, 71.0), in_flight={1: 1})
        assert test.slots[0].ended_at == 70.0
    once = advance(test, view, 71.0, TARGETS)
    assert once == advance(once.experiment, view, 72.0, TARGETS)
    assert once.apply == test.settings_of(arm_of(1, len(test.slots)))


def test_a_slot_cannot_begin_while_another_runs() -> None:
    with pytest.raises(IllegalTransitionError):
        slot_started(_with_slots(1), _live(2, 70.0))


def test_the_washout_ends_by_time_and_by_what_is_in_flight() -> None:
    test = slot_started(_planned(), _live(5, 0.0))

    def phase(now: float, in_flight: dict[int, int]) -> Phase:
        view = View(_live(5, now), in_flight=in_flight)
        return advance(test, view, now, TARGETS).experiment.phase

    assert phase(4.9, {}) is Phase.WASHOUT
    assert phase(5.0, {5: 9}) is Phase.COUNTING
    assert phase(29.0, {4: 1}) is Phase.WASHOUT
    assert phase(30.0, {4: 1}) is Phase.COUNTING


def test_abort_closes_with_its_reason_once() -> None:
    test = abort(_with_slots(2), "an operator stopped it")
    assert test.conclusion is not None
    assert test.conclusion.verdict is Verdict.ABORTED
    assert "an operator stopped it" in test.conclusion.reason
    assert advance(test, View(None), 0, TARGETS).apply is None
    assert slot_started(test, _live(9, 200.0)) == test
    with pytest.raises(IllegalTransitionError):
        abort(test, "again")
