"""What a test is told besides its requests, and that a slow probe holds up nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from autotuner.domain.energy import Meter, Metering
from autotuner.domain.errors import TargetUnavailableError
from autotuner.domain.experiment import Arm, Experiment, Guardrail, Phase, Plan, Slot
from autotuner.domain.knobs import Settings
from autotuner.domain.ports import LiveSettings
from autotuner.domain.telemetry import (
    FeedbackScore,
    GoldenBlock,
    ProbeReading,
    Reading,
    Snapshot,
)
from autotuner.probing import Probing
from autotuner.sidelines import Sidelines

SCORED = Plan(guardrails=(Guardrail("quality", 0.05),))


def live(now: float, generation: int = 3) -> LiveSettings:
    return LiveSettings(Settings({"a": 1}), generation, "boot", 100.0, now)


def a_test(plan: Plan = SCORED, phase: Phase = Phase.COUNTING) -> Experiment:
    control = Settings({"a": 1})
    slot = Slot(0, Arm.CONTROL, 3, 100.0, 105.0)
    return Experiment("e", "t", control, control, plan, 1, 0.0, phase=phase, slots=(slot,))


@dataclass
class Prober:
    """Answers with these agreements in turn; None fails."""

    answers: list[float | None]
    asked: int = 0
    blocks: list[GoldenBlock | None] = field(default_factory=list)

    def probe(self, block: GoldenBlock | None = None) -> ProbeReading:
        self.asked += 1
        self.blocks.append(block)
        answer = self.answers.pop(0)
        if answer is None:
            raise TargetUnavailableError("no engine")
        return ProbeReading(110.0 + self.asked, 3, 0, answer)


@dataclass
class Later:
    """Work that waits until it is told to go on."""

    works: list[Callable[[], None]] = field(default_factory=list)

    def start(self, work: Callable[[], None]) -> None:
        self.works.append(work)

    def go_on(self) -> None:
        self.works.pop(0)()


def at_once(work: Callable[[], None]) -> None:
    work()


def probed(prober: Prober, test: Experiment, cycles: int = 3) -> tuple[ProbeReading, ...]:
    sidelines = Sidelines(Probing(prober, at_once))
    for cycle in range(cycles):
        seen = sidelines.look(test, live(110.0 + cycle), None)
    return seen.probes


def test_a_counting_slot_is_probed_once() -> None:
    prober = Prober([0.9, 0.8])
    assert [reading.agreement for reading in probed(prober, a_test())] == [0.9]
    assert prober.asked == 1


def test_both_lanes_of_a_period_are_probed() -> None:
    lanes = replace(a_test().slots[0], lanes=2)
    seen = probed(Prober([0.9, 0.8]), a_test().with_slot(lanes))
    assert [reading.agreement for reading in seen] == [0.9, 0.8]


def test_both_arms_of_a_pair_answer_the_same_and_the_next_pair_something_else() -> None:
    prober = Prober([0.9] * 4)
    sidelines = Sidelines(Probing(prober, at_once))
    test = a_test(replace(SCORED, probe_items=16))
    for index in range(4):
        slot = Slot(index, Arm.CONTROL, index + 3, 100.0 + index, 105.0 + index)
        test = test.with_slot(slot)
        sidelines.look(test, live(110.0 + index, slot.generation), None)
    assert prober.blocks == [GoldenBlock(first, 16) for first in (0, 0, 16, 16)]


def test_nothing_is_probed_where_no_measure_needs_it_or_nothing_counts() -> None:
    prober = Prober([])
    assert probed(prober, a_test(Plan())) == ()
    assert probed(prober, a_test(phase=Phase.WASHOUT)) == ()
    excluded = replace(a_test().slots[0], excluded="because")
    assert probed(prober, a_test().with_slot(excluded)) == ()
    changed = Sidelines(Probing(prober, at_once)).look(a_test(), live(110, generation=4), None)
    assert changed.probes == ()


def test_a_failed_probe_is_tried_a_second_time_and_not_a_third() -> None:
    assert len(probed(Prober([None, 0.7]), a_test())) == 1
    prober = Prober([None, None, 0.7])
    assert probed(prober, a_test(), cycles=6) == ()
    assert prober.asked == 2


def test_a_slow_probe_holds_up_no_cycle_and_is_told_when_it_is_there() -> None:
    later, prober = Later(), Prober([0.9])
    sidelines = Sidelines(Probing(prober, later.start))
    assert sidelines.look(a_test(), live(110), None).probes == ()
    assert sidelines.look(a_test(), live(112), None).probes == ()
    assert len(later.works) == 1
    later.go_on()
    assert len(sidelines.look(a_test(), live(114), None).probes) == 1
    assert sidelines.look(None, live(116), None).probes == ()


def test_a_probe_that_fails_after_its_slot_costs_the_next_one_nothing() -> None:
    later = Later()
    probing = Probing(Prober([None, 0.9]), later.start)
    probing.want(3, 1)
    probing.want(4, 1)  # the first still runs
    later.go_on()
    probing.want(4, 1)
    later.go_on()
    assert [reading.agreement for reading in probing.take()] == [0.9]
    assert probing.take() == ()


@dataclass
class Scores:
    """A log of scores, or one that is down."""

    log: list[FeedbackScore]
    down: bool = False
    cursors: list[int] = field(default_factory=list)

    def feedback(self, after: int) -> tuple[Sequence[FeedbackScore], int]:
        if self.down:
            raise TargetUnavailableError("no answer")
        self.cursors.append(after)
        return self.log[after:], len(self.log)


def test_scores_since_the_first_slot_are_kept_and_a_failed_reading_loses_none() -> None:
    source = Scores([FeedbackScore(90.0, "old", 1.0), FeedbackScore(101.0, "a", 0.5)])
    sidelines = Sidelines(feedback=source)
    assert [s.request_id for s in sidelines.look(a_test(), live(110), None).feedback] == ["a"]
    source.log.append(FeedbackScore(111.0, "b", 0.5))
    source.down = True
    assert len(sidelines.look(a_test(), live(112), None).feedback) == 1
    source.down = False
    assert len(sidelines.look(a_test(), live(114), None).feedback) == 2
    sidelines.rebooted()
    source.log.clear()
    assert len(sidelines.look(a_test(), live(116), None).feedback) == 2
    assert source.cursors == [0, 2, 0]
    assert sidelines.look(None, live(118), None).feedback == ()


def drawing(watts: float) -> Metering:
    return {"nvml": Meter(power_w={"gpu0": watts})}


def test_readings_are_kept_from_the_last_reading_before_the_test() -> None:
    sidelines = Sidelines()
    for now, watts in ((90.0, 10.0), (95.0, 20.0), (105.0, 30.0)):
        scrape = Snapshot(now + 9, {"requests": 1}, {"kv_usage": 0.5}, energy=drawing(watts))
        seen = sidelines.look(a_test() if now > 100 else None, live(now), scrape)
    assert seen.readings == (
        Reading(95.0, energy=drawing(20.0)), Reading(105.0, energy=drawing(30.0)),
    )  # fmt: skip
    counted = Snapshot(120.0, {"out_of_memory_total": 2.0})
    later = sidelines.look(a_test(), live(110.0), counted).readings
    assert later[-1] == Reading(110.0, {"out_of_memory_total": 2.0})
    assert sidelines.look(a_test(), live(112.0), Snapshot(121.0)).readings == later
    assert sidelines.look(a_test(), live(114.0), None).readings == later
