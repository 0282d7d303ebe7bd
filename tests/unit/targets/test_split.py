"""Two replicas in memory as one target of two lanes: what the contract suite can't see."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import pytest

from autotuner.abtest.view import lanes_restarted
from autotuner.domain.errors import (
    SettingsRefusedError,
    StaleGenerationError,
    TargetUnavailableError,
)
from autotuner.domain.knobs import Settings
from autotuner.domain.ports import LiveSettings
from autotuner.domain.telemetry import FeedbackScore, GoldenBlock, ProbeReading
from autotuner.targets.capabilities import Capability, Choices, IntRange
from autotuner.targets.memory import MemoryTarget
from autotuner.targets.replicas import common_capabilities
from autotuner.targets.split import SplitTarget
from autotuner.targets.split_quality import LaneProber, MergedFeedback
from tests.unit.requests_seen import SERVED

ONE, TWO = Settings({"k": 1}), Settings({"k": 2})
AHEAD_S = (0.0, 40.0, -7.0)  # of the replicas' clocks against the first one's


@dataclass
class Fleet:
    """Replicas whose clocks differ; `now` is the first one's."""

    count: int = 2
    greatest: int = 9
    now: float = 100.0
    replicas: list[MemoryTarget] = field(default_factory=list)

    def __post_init__(self) -> None:
        knobs = {"k": Capability(IntRange(1, self.greatest))}
        for ahead in AHEAD_S[: self.count]:
            clock = lambda ahead=ahead: self.now + ahead  # noqa: E731
            self.replicas.append(MemoryTarget({"k": 1}, knobs, clock))
        self.target = SplitTarget(self.replicas, lambda: self.now)

    def live(self) -> int:
        return self.target.read_settings().generation

    def k(self) -> list[object]:
        return [replica.read_settings().settings["k"] for replica in self.replicas]

    def serve(self, replica: int, arrival: float = 99.0, e2el_s: float = 0.5) -> None:
        """A request that arrived at `arrival` on the first replica's clock ends."""
        own = self.replicas[replica].read_settings().generation
        seen = replace(SERVED, generation_start=own, generation_end=own, e2el_s=e2el_s)
        self.replicas[replica].finish(replace(seen, arrival=arrival + AHEAD_S[replica]))


def test_each_lane_runs_its_own_settings_and_one_generation_stands_for_both() -> None:
    fleet = Fleet(count=3)
    before = fleet.target.read_settings()
    after = fleet.target.apply_lanes((ONE, TWO), before, "")
    assert fleet.k() == [1, 2, 1]
    assert after.generation == before.generation + 3
    assert after.settings == {"k": 1}
    assert fleet.target.read_settings() == after
    for replica in range(3):
        fleet.serve(replica)
    seen = fleet.target.exposures(0).exposures
    assert sorted(e.lane for e in seen) == [0, 0, 1]
    assert {e.generation_start for e in seen} == {after.generation}


def test_applying_one_settings_gives_it_to_every_lane() -> None:
    fleet = Fleet()
    fleet.target.apply(TWO, fleet.target.read_settings(), "")
    assert fleet.k() == [2, 2]


def test_what_ran_before_the_first_reading_is_older_than_everything() -> None:
    fleet = Fleet()
    fleet.serve(1)
    fleet.replicas[1].set_in_flight({1: 3})
    fleet.replicas[1].apply(TWO, fleet.replicas[1].read_settings(), "")
    now = fleet.live()
    batch = fleet.target.exposures(0)
    assert batch.exposures[0].generation_start == 0
    assert batch.in_flight == {0: 3}
    assert batch.lanes_in_flight == ({}, {0: 3})
    fleet.serve(1)
    assert fleet.target.exposures(batch.next).exposures[0].generation_start == now


def test_a_replica_keeps_the_generation_it_was_first_seen_under() -> None:
    """The last requests of a slot must stay the slot's when only the other lane was changed."""
    fleet = Fleet()
    slot = fleet.target.apply_lanes((ONE, TWO), fleet.target.read_settings(), "")
    fleet.replicas[0].apply(TWO, fleet.replicas[0].read_settings(), "a person")
    assert fleet.live() == slot.generation + 1
    fleet.serve(1)
    fleet.serve(0)
    by_lane = {e.lane: e.generation_start for e in fleet.target.exposures(0).exposures}
    assert by_lane == {0: slot.generation + 1, 1: slot.generation}


def test_times_are_on_the_first_replicas_clock() -> None:
    fleet = Fleet(count=3)
    applied = fleet.target.apply(TWO, fleet.target.read_settings(), "")
    assert (applied.now, applied.applied_at) == (100.0, 100.0)
    fleet.now = 130.0
    for replica, arrival in enumerate((120.0, 110.0, 115.0)):
        fleet.serve(replica, arrival)
    batch = fleet.target.exposures(0)
    assert [e.arrival for e in batch.exposures] == [110.0, 115.0, 120.0]
    assert [e.lane for e in batch.exposures] == [1, 0, 0]
    assert batch.now == 130.0


def test_a_slow_answer_is_not_taken_for_a_clock_that_differs() -> None:
    fleet = Fleet()
    ticks = iter((0.0, 0.0, 0.0, 6.0))  # the second replica takes 6 s to answer

    class Slow(MemoryTarget):
        def read_settings(self) -> LiveSettings:
            fleet.now += 3.0
            return super().read_settings()

    slow = Slow({"k": 1}, {}, lambda: fleet.now)
    target = SplitTarget([fleet.replicas[0], slow], lambda: next(ticks))
    target.read_settings()
    assert target.on_first_clock(50.0, 1) == 50.0


def test_logs_are_read_by_one_cursor_and_from_the_start_again() -> None:
    fleet = Fleet()
    fleet.serve(0)
    fleet.serve(1)
    first = fleet.target.exposures(0)
    fleet.serve(1)
    second = fleet.target.exposures(first.next)
    assert [e.seq for e in first.exposures] == [1, 2]
    assert [(e.seq, e.lane) for e in second.exposures] == [(3, 1)]
    assert len(fleet.target.exposures(0).exposures) == 3
    assert fleet.target.exposures(second.next).exposures == ()
    with pytest.raises(ValueError, match="after=77: give 0"):
        fleet.target.exposures(77)


# ---- what goes wrong
def test_a_refusal_before_anything_was_taken_changes_nothing() -> None:
    """The lane whose values change is asked first, whichever it is."""
    for lanes in ((ONE, Settings({"k": 10})), (Settings({"k": 10}), ONE)):
        fleet = Fleet()
        before = fleet.target.read_settings()
        with pytest.raises(SettingsRefusedError):
            fleet.target.apply_lanes(lanes, before, "")
        assert fleet.k() == [1, 1]
        assert fleet.live() == before.generation


def test_a_partial_apply_is_unknown_and_can_be_read_back() -> None:
    fleet = Fleet()
    before = fleet.target.read_settings()
    fleet.replicas[1].apply(ONE, fleet.replicas[1].read_settings(), "a person, meanwhile")
    with pytest.raises(TargetUnavailableError, match="replica 1 did not take"):
        fleet.target.apply(TWO, before, "")
    assert fleet.k() == [2, 1]
    back = fleet.target.read_settings()
    assert back.settings == {"k": 2}
    assert back.generation == before.generation + 2
    fleet.target.apply(TWO, back, "")
    assert fleet.k() == [2, 2]


def test_a_change_on_any_replica_is_told() -> None:
    fleet = Fleet()
    fleet.target.apply_lanes((ONE, TWO), fleet.target.read_settings(), "")
    fleet.replicas[1].apply(Settings({"k": 7}), fleet.replicas[1].read_settings(), "a person")
    assert fleet.target.read_settings().settings == {"k": 7}
    fleet.target.apply(TWO, fleet.target.read_settings(), "")
    assert fleet.target.read_settings().settings == {"k": 2}


def test_an_older_reading_is_stale() -> None:
    fleet = Fleet()
    old = fleet.target.read_settings()
    fleet.target.apply(TWO, old, "")
    with pytest.raises(StaleGenerationError):
        fleet.target.apply(ONE, old, "")
    assert fleet.k() == [2, 2]


@pytest.mark.parametrize("replica", [0, 1])
def test_a_replica_that_restarts_is_a_new_boot_whose_lane_is_known(replica: int) -> None:
    fleet = Fleet()
    old = fleet.target.apply_lanes((ONE, TWO), fleet.target.read_settings(), "")
    fleet.serve(1 - replica)
    fleet.replicas[replica].restart({"k": 1})
    with pytest.raises(TargetUnavailableError, match="restarted"):
        fleet.target.exposures(0)
    new = fleet.target.read_settings()
    assert new.boot_id != old.boot_id
    assert lanes_restarted(old.boot_id, new.boot_id) == (replica,)
    assert new.settings == fleet.replicas[0].read_settings().settings
    # The other one's requests are told again, under the generation that it has now.
    assert {e.generation_start for e in fleet.target.exposures(0).exposures} == {new.generation}
    assert lanes_restarted("a", "b") == ()


@pytest.mark.parametrize("replica", [0, 1])
def test_one_silent_replica_makes_the_whole_unavailable(replica: int) -> None:
    fleet = Fleet()
    live = fleet.target.read_settings()
    fleet.replicas[replica].set_reachable(False)
    for call in (
        fleet.target.read_settings,
        fleet.target.capabilities,
        lambda: fleet.target.exposures(0),
        lambda: fleet.target.steps(0),
        lambda: fleet.target.apply(TWO, live, ""),
    ):
        with pytest.raises(TargetUnavailableError):
            call()


def test_a_split_needs_two_replicas() -> None:
    with pytest.raises(ValueError, match="two or more"):
        SplitTarget(Fleet().replicas[:1])


def test_only_what_every_replica_accepts_is_offered() -> None:
    one = {
        "n": Capability(IntRange(1, 8)),
        "c": Capability(Choices(("a", "b"))),
        "gone": Capability(IntRange(1, 2)),
        "odd": Capability(IntRange(1, 2)),
        "apart": Capability(IntRange(1, 2)),
    }
    other = {
        "n": Capability(IntRange(4, 16), live=False),
        "c": Capability(Choices(("b", "c")), changes_answers=True),
        "odd": Capability(Choices((1,))),
        "apart": Capability(IntRange(3, 4)),
    }
    assert common_capabilities([one, other]) == {
        "n": Capability(IntRange(4, 8), live=False),
        "c": Capability(Choices(("b",)), changes_answers=True),
    }


# ---- probes and scores
@dataclass
class Judge:
    """A replica's probe and its users' scores."""

    replica: MemoryTarget
    at: float
    broken: bool = False

    def probe(self, block: GoldenBlock | None = None) -> ProbeReading:
        if self.broken:
            raise TargetUnavailableError("no answer")
        generation = self.replica.read_settings().generation
        return ProbeReading(self.at, generation, lane=0, agreement=0.9)

    def feedback(self, after: int) -> tuple[Sequence[FeedbackScore], int]:
        scores = [FeedbackScore(self.at + n, f"r{n}", 1.0) for n in range(after, 2)]
        return scores, 2


def test_probes_take_the_lanes_in_turn_and_speak_of_the_whole_target() -> None:
    fleet = Fleet(count=3)
    judges = [Judge(r, 100.0 + a) for r, a in zip(fleet.replicas, AHEAD_S, strict=True)]
    prober = LaneProber(fleet.target, judges)
    generation = fleet.live()
    judges[0].broken = True
    with pytest.raises(TargetUnavailableError):
        prober.probe()
    judges[0].broken = False
    seen = [prober.probe() for _ in range(3)]
    assert [(s.lane, s.at, s.generation) for s in seen] == [
        (0, 100.0, generation),
        (1, 100.0, generation),
        (0, 100.0, generation),
    ]


def test_scores_of_all_replicas_are_read_by_one_cursor() -> None:
    fleet = Fleet()
    fleet.live()
    judges = [Judge(r, 100.0 + a) for r, a in zip(fleet.replicas, AHEAD_S, strict=False)]
    source = MergedFeedback(fleet.target, judges)
    scores, cursor = source.feedback(0)
    assert [score.at for score in scores] == [100.0, 100.0, 101.0, 101.0]
    assert source.feedback(cursor) == ([], cursor)
