"""The error budget over a real history: what a restart, a takeover, pruning and an outage leave."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import pytest

from autotuner.availability import Availability, read_budget
from autotuner.domain.availability import HOUR_S, Tally
from autotuner.domain.error_budget import DAY_S, AvailabilityGoal, ErrorBudget
from autotuner.domain.errors import HistoryUnavailableError, StaleLeaderError
from autotuner.domain.knobs import Settings, Value
from autotuner.domain.ports import LiveSettings
from autotuner.domain.slo import SLO
from autotuner.domain.telemetry import Exposure, ExposureBatch, Outcome, Snapshot, Window
from autotuner.history.backlog import Backlog
from autotuner.history.compaction import Keeping
from autotuner.history.engine import open_engine
from autotuner.history.pruning import everything
from autotuner.history.store import History
from autotuner.observer import Horizon, Observer
from autotuner.targets.capabilities import Capability, IntRange
from autotuner.targets.memory import MemoryTarget
from autotuner.tuner import Observation

START = 1_764_000_000.0 // HOUR_S * HOUR_S
GOAL = AvailabilityGoal(0.9, 30 * DAY_S, 0.2)
SERVED = Exposure(0, "r", 1, 1, 0.0, 0.0, 0.1, 0.01, 0.02, 0.5, 10, 10, Outcome.STOP)


class World:
    """A target that ends requests by the second, and the daemon's side of it, taken up anew."""

    def __init__(self, history: History, ring_size: int = 4096) -> None:
        self.now, self.history = START, history
        knobs = {"k": Capability(IntRange(1, 8))}
        self.target = MemoryTarget({"k": 1}, knobs, lambda: self.now + 3.0, ring_size)
        history.record_target("t", kind="worker", url="u", at=START, info={"boot_id": "boot-1"})
        self.window: Window | None = None
        self.rebuilding: dict[str, Value] | None = None
        self.backlog = Backlog()
        self.daemon = self.taken_up(history)

    def taken_up(self, history: History) -> tuple[Observer, Availability]:
        """A process that knows nothing but what the history holds."""
        observer = Observer(self.target, self, SLO(ttft_s=1.0), Horizon(60.0, 600.0))
        self.backlog = Backlog()
        return observer, Availability(history, "t", GOAL, SLO(ttft_s=1.0), self.backlog)

    def snapshot(self) -> Snapshot:
        return Snapshot(self.now)

    def serve(self, seconds: int, *, failing: bool = False, watched: bool = True) -> None:
        """A request a second ends; the daemon looks every five seconds."""
        for _ in range(seconds):
            self.now += 1.0
            outcome = Outcome.ERROR if failing else Outcome.STOP
            arrival = self.now + 3.0 - SERVED.e2el_s
            self.target.finish(replace(SERVED, arrival=arrival, outcome=outcome))
            if watched and self.now % 5 == 0:
                self.look()

    def wait(self, seconds: int) -> None:
        """Nothing ends; the daemon looks every five seconds."""
        for _ in range(seconds // 5):
            self.now += 5.0
            self.look()

    def look(self) -> Observation:
        observer, availability = self.daemon
        seen = replace(observer.observe(None), window=self.window)
        if seen.live is not None:
            seen = replace(seen, live=replace(seen.live, rebuilding=self.rebuilding))
        return availability.counted(seen, self.now)

    @property
    def budget(self) -> ErrorBudget:
        found = self.look().budget
        assert found is not None
        return found

    def restart(self, history: History | None = None) -> None:
        self.daemon = self.taken_up(history or self.history)


@pytest.fixture
def world(history: History) -> World:
    return World(history)


def counts(world: World) -> Tally:
    return world.budget.whole


def test_a_crash_and_a_restart_lose_and_double_nothing(world: World) -> None:
    world.serve(100)
    world.serve(7, failing=True)  # the last two are not even seen before the crash
    for _ in range(3):
        world.restart()
        assert counts(world) == Tally(107, 7)
    world.serve(20)
    assert counts(world) == Tally(127, 7)


def test_what_ended_while_no_daemon_looked_is_in_the_log(world: World) -> None:
    world.serve(100)
    world.serve(50, failing=True, watched=False)
    world.restart()
    assert counts(world) == Tally(150, 50)
    assert world.budget.windows["5m"] == Tally(150, 50)


def test_another_leader_goes_on_and_the_old_one_can_write_no_more(world: World) -> None:
    history = world.history
    first = history.begin_term("autotuner", "a:1", START)
    world.restart(history.under(first))
    world.serve(60, failing=True)
    old = world.daemon
    history.end_term(first, world.now)
    world.restart(history.under(history.begin_term("autotuner", "b:2", world.now)))
    world.serve(60)
    assert counts(world) == Tally(120, 60)
    world.daemon = old
    world.serve(3)
    world.now += 60
    with pytest.raises(StaleLeaderError):
        world.look()


def test_pruning_and_thinning_leave_the_budget_whole(world: World) -> None:
    for _ in range(4):
        world.serve(300)
        world.serve(30, failing=True)
        world.now += 2 * HOUR_S
    world.look()
    before = counts(world)
    assert before == Tally(4 * 330, 4 * 30)
    world.history.keep(Keeping(everything(world.now + DAY_S), thin_before=world.now + DAY_S))
    world.history.prune(world.now + DAY_S)
    world.restart()
    assert counts(world) == before
    assert read_budget(world.history, "t", GOAL, world.now).whole == before


def test_what_is_older_than_the_window_counts_no_more(world: World) -> None:
    world.serve(200, failing=True)
    world.now += 29 * DAY_S
    assert counts(world) == Tally(200, 200)
    world.now += DAY_S + HOUR_S
    assert counts(world) == Tally()
    world.restart()
    assert counts(world) == Tally()


def test_a_target_that_went_away_and_came_back_anew_lost_what_would_have_come(
    world: World,
) -> None:
    world.serve(1200)
    world.target.set_reachable(False)
    world.wait(100)
    assert counts(world).lost == pytest.approx(100, abs=2)
    world.restart()  # in the middle of the outage
    world.wait(100)
    assert counts(world).lost == pytest.approx(200, abs=10)
    world.target.restart()
    world.target.set_reachable(True)
    world.look()
    world.serve(60)
    lost = counts(world).lost
    assert lost == pytest.approx(200, abs=10)
    world.history.record_target(
        "t", kind="worker", url="u", at=world.now, info={"boot_id": "boot-2"}
    )
    world.restart()
    assert counts(world) == Tally(1260, 0, lost), "settled once"


def test_a_daemon_that_could_not_see_its_target_takes_its_estimate_back(world: World) -> None:
    world.serve(1200)
    world.target.set_reachable(False)
    world.wait(60)
    world.serve(100)  # to its users, while the daemon sees nothing
    world.serve(5, failing=True)
    assert counts(world).lost > 100
    world.restart()
    world.target.set_reachable(True)
    assert counts(world) == Tally(1305, 5)
    world.restart()
    assert counts(world) == Tally(1305, 5)


def test_requests_of_which_nothing_comes_are_an_outage_until_they_end(world: World) -> None:
    world.serve(1200)
    world.target.set_in_flight({1: 4})
    world.window = Window(0.0, 5.0, 0.0, {"generation_tokens": 0.0})
    world.wait(55)
    assert counts(world).lost == 0
    world.wait(65)
    assert counts(world).lost == pytest.approx(120, abs=2)
    world.window = None
    world.serve(4, failing=True)
    world.look()
    assert counts(world) == Tally(1204, 4)


def test_what_a_restart_into_other_settings_cost_is_remembered(world: World) -> None:
    world.serve(100, failing=True)
    world.rebuilding = {"k": 2}
    world.serve(20)
    world.serve(10, failing=True)
    world.rebuilding = None
    world.serve(100)
    seen = counts(world)
    assert (seen.requests, seen.failed) == (230, 110)
    # From the look before the first one that saw it, to the first that sees it no more.
    assert (seen.restart_s, seen.restart_failed) == (35, 10)
    world.restart()
    assert counts(world) == seen


def test_an_idle_target_loses_nothing(world: World) -> None:
    world.serve(1200)
    world.window = Window(0.0, 5.0, 0.0, {"generation_tokens": 0.0})
    world.wait(600)
    assert counts(world) == Tally(1200)


def test_counters_speak_where_the_log_was_overwritten(history: History) -> None:
    world = World(history, ring_size=16)
    world.serve(10)
    world.serve(60, failing=True, watched=False)
    rates = {"requests_error": 1.0, "requests_abort": 0.0}
    world.window = Window(world.now - 60, world.now, 60.0, rates)
    assert counts(world) == Tally(70, 60)
    world.window = None
    world.serve(40, watched=False)
    assert counts(world) == Tally(86, 60), "what neither tells is not made up"


class Fragile(History):
    """Is away for what was counted while `away` is set."""

    away = False

    def append_samples(self, target: str, samples: Iterable[tuple[str, float, float]]) -> None:
        if self.away:
            raise HistoryUnavailableError("no connection")
        super().append_samples(target, samples)


def test_a_history_that_is_away_is_told_later(history: History, url: str) -> None:
    fragile = Fragile(open_engine(url))
    world = World(fragile)
    world.serve(100)
    fragile.away = True
    world.serve(100, failing=True)
    kept = read_budget(history, "t", GOAL, world.now).whole
    assert kept.requests <= 115
    fragile.away = False
    with world.backlog.returning(world.now):  # as each cycle of the daemon begins
        pass
    world.serve(20)
    assert read_budget(history, "t", GOAL, world.now).whole == Tally(220, 100)
    fragile.close()


def test_the_budget_of_a_target_that_never_answered_is_empty(history: History) -> None:
    world = World(history)
    world.target.set_reachable(False)
    world.wait(300)
    assert counts(world) == Tally()
    live = LiveSettings(Settings({"k": 1}), 1, "boot-1", START, START)
    batch = ExposureBatch("boot-1", START, 0, False, {}, ())
    _, availability = world.taken_up(history)
    assert availability.counted(Observation(live=live, ended=batch), world.now).budget is not None
