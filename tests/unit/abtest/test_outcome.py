"""Which requests a slot answers for."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotuner.abtest.outcome import (
    active_guardrails,
    cut_short,
    merged,
    needs_probe,
    slot_outcome,
    toll,
)
from autotuner.abtest.view import View
from autotuner.domain.energy import Meter
from autotuner.domain.experiment import Arm, Experiment, Guardrail, Plan, Slot, SlotOutcome
from autotuner.domain.knobs import Settings
from autotuner.domain.measures import measure
from autotuner.domain.slo import SLO
from autotuner.domain.telemetry import (
    Exposure,
    FeedbackScore,
    Outcome,
    ProbeReading,
    Reading,
)
from tests.unit.requests_seen import SERVED

WATTS = {"nvml": Meter(power_w={"gpu0": 100.0})}
PLAN = Plan(slot_s=60, cooldown_s=5)
TARGETS = SLO(ttft_s=1.0, gap_max_s=0.1)
SLOT = Slot(0, Arm.TREATMENT, generation=3, started_at=100, counted_from=110, ended_at=170)
BASE = replace(
    SERVED,
    generation_start=3,
    generation_end=3,
    arrival=120,
    ttft_s=0.2,
    tpot_s=0.03,
    gap_max_s=0.05,
    e2el_s=2.0,
    output_tokens=5,
)


def _seen(*exposures: Exposure, slo: SLO = TARGETS) -> SlotOutcome:
    return slot_outcome(View(None, exposures), SLOT, 170, PLAN, slo)


@pytest.mark.parametrize(
    ("change", "requests", "good"),
    [
        ({}, 1, 1),
        ({"arrival": 110.0}, 1, 1),
        ({"arrival": 109.9}, 0, 0),  # washout
        ({"arrival": 165.0}, 1, 1),
        ({"arrival": 165.1}, 0, 0),  # cooldown
        ({"generation_start": 2}, 0, 0),
        ({"generation_start": 2, "generation_end": 2}, 0, 0),
        ({"ttft_s": 1.1}, 1, 0),
        ({"gap_max_s": 0.2}, 1, 0),
        ({"gap_max_s": None, "tpot_s": None}, 1, 1),  # one token
        ({"ttft_s": math.nan}, 0, 0),  # not measured
        ({"e2el_s": math.inf}, 0, 0),
        ({"outcome": Outcome.ABORT, "e2el_s": 0.35}, 0, 0),  # every target could still be met
        ({"outcome": Outcome.ABORT, "e2el_s": 0.9, "ttft_s": None}, 0, 0),
        ({"outcome": Outcome.ABORT, "e2el_s": 1.1, "ttft_s": None}, 1, 0),  # left too late
        ({"outcome": Outcome.ABORT, "e2el_s": math.nan, "ttft_s": None}, 0, 0),
        ({"outcome": Outcome.ERROR, "ttft_s": None}, 1, 0),
        ({"outcome": Outcome.REJECTED, "ttft_s": None}, 1, 0),
    ],
)
def test_what_counts(change: dict[str, object], requests: int, good: int) -> None:
    seen = _seen(replace(BASE, **change))  # type: ignore[arg-type]
    assert (seen.requests, seen.good, seen.straddlers) == (requests, good, 0)


@pytest.mark.parametrize(
    ("change", "missed"),
    [
        ({"arrival": 150.0, "ttft_s": 0.5}, False),  # first token in time: counts for neither
        ({"arrival": 150.0, "ttft_s": 30.0}, True),  # its deadline passed under this arm
        ({"arrival": 150.0, "ttft_s": None, "outcome": Outcome.ERROR}, True),
    ],
)
def test_straddlers(change: dict[str, object], missed: bool) -> None:
    seen = _seen(replace(BASE, generation_end=4, **change))  # type: ignore[arg-type]
    assert (seen.requests, seen.good, seen.straddlers) == (int(missed), 0, int(not missed))


@pytest.mark.parametrize(
    ("change", "requests", "straddlers"),
    [
        ({"arrival": 120.0, "e2el_s": 55.0}, 1, 0),  # left after the switch, overdue before it
        ({"arrival": 169.5, "e2el_s": 0.9}, 0, 0),  # left in time: nowhere
        ({"arrival": 169.5, "e2el_s": 1.2}, 0, 1),  # the deadline passed under the next arm
    ],
)
def test_a_client_that_left_under_the_next_arm(
    change: dict[str, float], requests: int, straddlers: int
) -> None:
    left = replace(BASE, generation_end=4, ttft_s=None, outcome=Outcome.ABORT, output_tokens=0)
    left = replace(left, **change)  # type: ignore[arg-type]
    seen = slot_outcome(View(None, (left,)), SLOT, 170, replace(PLAN, cooldown_s=0), TARGETS)
    assert (seen.requests, seen.good, seen.straddlers) == (requests, 0, straddlers)


def test_an_arm_whose_clients_leave_does_not_look_better_than_one_whose_clients_wait() -> None:
    slow = [replace(BASE, seq=i, ttft_s=3.0, e2el_s=4.0) for i in range(6)]
    left = [replace(r, ttft_s=None, e2el_s=2.0, outcome=Outcome.ABORT) for r in slow]
    waited, lost = _seen(BASE, *slow), _seen(BASE, *left)
    assert lost.attainment == waited.attainment == pytest.approx(1 / 7)
    assert lost.failed == 0


def test_a_deadline_after_the_switch_is_nobodys() -> None:
    plan = replace(PLAN, cooldown_s=0)
    late = replace(BASE, arrival=169.5, generation_end=4, ttft_s=9.0)
    seen = slot_outcome(View(None, (late,)), SLOT, 170, plan, TARGETS)
    assert (seen.requests, seen.straddlers) == (0, 1)


def test_a_straddler_may_miss_the_whole_request_deadline() -> None:
    slow = replace(BASE, arrival=120, generation_end=4, e2el_s=55.0)
    assert _seen(slow, slo=SLO(e2el_s=40)).requests == 1
    assert _seen(slow, slo=SLO(e2el_s=52)).straddlers == 1


def test_failures_count_against_attainment_and_are_told_apart() -> None:
    seen = _seen(BASE, replace(BASE, outcome=Outcome.ERROR), replace(BASE, ttft_s=3.0))
    assert seen.attainment == pytest.approx(1 / 3)
    assert seen.error_share == pytest.approx(1 / 3)
    assert seen.counted_s == 55


def test_an_empty_slot_has_no_attainment() -> None:
    seen = _seen()
    assert math.isnan(seen.attainment)
    assert math.isnan(seen.ttft_p95_s)
    assert math.isnan(seen.e2el_mean_s)


@given(st.lists(st.floats(0.001, 100), min_size=1, max_size=50))
def test_percentiles_are_exact(ttfts: list[float]) -> None:
    seen = _seen(*(replace(BASE, ttft_s=t, e2el_s=t + 1) for t in ttfts))
    assert seen.ttft_p95_s == pytest.approx(np.percentile(ttfts, 95))
    assert seen.e2el_mean_s == pytest.approx(np.mean(ttfts) + 1)


@given(st.permutations(range(8)))
def test_the_order_of_finishing_does_not_matter(order: list[int]) -> None:
    requests = [replace(BASE, seq=i, arrival=112 + 6 * i, ttft_s=0.3 * i) for i in range(8)]
    assert _seen(*(requests[i] for i in order)) == _seen(*requests)


def test_a_slow_arms_waits_are_not_lost_with_the_requests_that_never_ended_in_it() -> None:
    stuck = replace(BASE, arrival=120, generation_end=4, ttft_s=80.0, e2el_s=90.0)
    gone = replace(BASE, outcome=Outcome.ABORT, ttft_s=None, e2el_s=9.0)
    failed = replace(BASE, outcome=Outcome.ERROR, ttft_s=None, e2el_s=0.001)
    seen = _seen(BASE, stuck, gone, failed)
    assert seen.ttft_mean_s == pytest.approx((0.2 + 50 + 9) / 3)
    assert seen.e2el_mean_s == pytest.approx((2 + 50 + 9) / 3)
    assert seen.ttft_p95_s > 40


def test_requests_that_never_ended_missed_and_took_the_whole_slot() -> None:
    seen = slot_outcome(View(None, (BASE,)), SLOT, 170, PLAN, TARGETS, unfinished=3)
    assert (seen.requests, seen.good, seen.failed) == (4, 1, 0)
    assert seen.e2el_mean_s == pytest.approx((2 + 3 * 55) / 4)
    assert seen.ttft_mean_s == 0.2


def test_a_lane_answers_for_its_own_requests() -> None:
    here, there = replace(BASE, lane=1), replace(BASE, lane=0)
    lane = replace(SLOT, lane=1, lanes=2)
    view = View(None, (here, there), readings=(Reading(100, energy=WATTS),))
    assert slot_outcome(view, lane, 170, PLAN, TARGETS).requests == 1
    assert slot_outcome(view, SLOT, 170, PLAN, TARGETS).requests == 2
    assert math.isnan(slot_outcome(view, lane, 170, PLAN, TARGETS).energy_j)


def test_a_probe_speaks_for_the_slot_whose_settings_it_met() -> None:
    probes = (
        ProbeReading(130, 3, 0, 0.9),
        ProbeReading(140, 3, 1, 0.7),
        ProbeReading(50, 2, 0, 0.1),
    )
    view = View(None, (BASE,), probes=probes)
    assert slot_outcome(view, SLOT, 170, PLAN, TARGETS).quality == pytest.approx(0.8)
    lane = replace(SLOT, lanes=2)
    assert slot_outcome(view, lane, 170, PLAN, TARGETS).quality == 0.9
    assert math.isnan(_seen(BASE).quality)


def test_of_two_scores_for_a_request_the_later_one_counts() -> None:
    requests = [replace(BASE, id=name) for name in ("a", "b", "c")]
    scores = tuple(
        FeedbackScore(150, name, score)
        for name, score in (("a", 0.0), ("b", 0.5), ("a", 1.0), ("other", 0.0))
    )
    view = View(None, tuple(requests), feedback=scores)
    seen = slot_outcome(view, SLOT, 170, PLAN, TARGETS)
    assert (seen.feedback, seen.feedback_count) == (0.75, 2)


def test_gauges_enter_with_their_time() -> None:
    readings = tuple(
        Reading(at, {"temperature_c": 40.0 + at / 10, "out_of_memory_total": n}, WATTS)
        for at, n in ((100.0, 2), (120.0, 2), (140.0, 3), (160.0, 3), (180.0, 9))
    )
    seen = slot_outcome(View(None, (BASE,), readings=readings), SLOT, 170, PLAN, TARGETS)
    assert seen.energy_j == pytest.approx(100 * 55)
    assert seen.temperature_max_c == pytest.approx(56)
    assert seen.out_of_memory == 1


def test_two_slots_of_an_arm_add_up() -> None:
    one, two = _seen(BASE), _seen(*(replace(BASE, ttft_s=0.5) for _ in range(3)))
    both = merged([replace(one, energy_j=10), replace(two, energy_j=5, quality=0.5)])
    assert (both.requests, both.good, both.counted_s) == (4, 4, 110)
    assert both.ttft_mean_s == pytest.approx((0.2 + 3 * 0.5) / 4)
    assert (both.energy_j, both.quality) == (15, 0.5)
    assert math.isnan(both.feedback)
    assert math.isnan(merged([one, replace(two, energy_j=5)]).energy_j)


def test_quality_is_watched_only_where_answers_can_change() -> None:
    cheap, dear = Guardrail("error_share", 0.02), Guardrail("quality", 0.05)
    plan = Plan(guardrails=(cheap, dear))
    assert active_guardrails(plan, answers_change=True) == (cheap, dear)
    assert active_guardrails(plan, answers_change=False) == (cheap,)
    assert needs_probe(plan)
    assert not needs_probe(replace(plan, guardrails=(cheap,)))
    assert needs_probe(Plan(outcome="quality"))


def test_what_a_cut_slot_had_served_is_shown() -> None:
    test = Experiment("e", "t", Settings({"a": 1}), Settings({"a": 2}), PLAN, 1, 0.0)
    running = replace(SLOT, index=0, ended_at=None)
    in_washout = replace(BASE, arrival=104.0, ttft_s=9.0)
    ended = cut_short(test.with_slot(running), View(None, (BASE, in_washout)), 150.0, TARGETS)
    assert ended.slots[0].ended_at == 150
    assert ended.slots[0].excluded is not None
    paid = toll(ended.slots, Arm.TREATMENT)
    assert (paid.requests, paid.missed, paid.share) == (2, 1, 0.5)
    assert math.isnan(toll(ended.slots, Arm.CONTROL).share)
    again = replace(ended.slots[0], index=0)
    assert cut_short(ended, View(None), 999.0, TARGETS).slots == (again,)


def test_differences_are_positive_when_the_treatment_is_better() -> None:
    better = _seen(replace(BASE, e2el_s=1.0))
    worse = _seen(replace(BASE, e2el_s=2.0, ttft_s=5.0))
    assert measure("attainment").difference(worse, better) == 1
    assert measure("e2el").difference(worse, better) == pytest.approx(math.log(2))
    assert measure("e2el_p95").difference(worse, better) == pytest.approx(math.log(2))
    assert measure("ttft").difference(worse, better) == pytest.approx(math.log(25))
    assert math.isnan(measure("e2el").difference(worse, _seen()))
    assert math.isnan(measure("attainment").difference(worse, _seen()))
