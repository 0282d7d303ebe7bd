"""One target's error budget over time: counts each cycle, keeps the counts, answers for them.

What counts says `domain.availability`, what follows from it `domain.error_budget`. The counts are
kept with the moment until which they count, so that whoever takes over counts on from there.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import structlog

from autotuner.domain.availability import (
    FINE_S,
    GOOD_UNTIL,
    HOUR_S,
    HOURLY,
    LOG_UNTIL,
    MINUTE_S,
    MINUTELY,
    Ledger,
    Tally,
    by_counters,
    start_of,
    tallied,
)
from autotuner.domain.error_budget import AvailabilityGoal, ErrorBudget, budget_of
from autotuner.domain.slo import SLO
from autotuner.domain.telemetry import Exposure, ExposureBatch, Window
from autotuner.history.backlog import Backlog
from autotuner.history.store import History
from autotuner.tuner import Observation

log = structlog.get_logger()

# All chosen. Counts are written at most so often: what came since is in the target's log still. A
# target with requests that serves none for HUNG_S serves nobody. Where nobody looked for longer
# than GAP_S, nobody knows.
KEEP_EVERY_S = 15.0
HUNG_S = 60.0
GAP_S = 600.0


@dataclass(frozen=True)
class Marks:
    """Until when the counts count; -inf where nothing was kept yet.

    `log_until`: the end of the last request in them, on the target's clock. `good_until`: when the
    target last served or was idle, on the daemon's; `boot_id` is the one that it ran then.
    """

    log_until: float = -math.inf
    good_until: float = -math.inf
    boot_id: str | None = None


@dataclass(frozen=True)
class _Outage:
    """Requests are lost at the rate of the hour before; reckoned `until` (s) so far."""

    rate_rps: float
    until: float


class Availability:
    """`counted` once a cycle, `keep` at the end. For the thread of the target's cycle.

    While the history is away, counts wait here; before its first answer, whole cycles do.
    """

    def __init__(
        self, history: History, target: str, goal: AvailabilityGoal, slo: SLO, backlog: Backlog
    ) -> None:
        self._history, self._target, self._goal, self._slo = history, target, goal, slo
        self._backlog = backlog
        self._ledger: Ledger | None = None  # None until the history told what is in it
        self._marks = Marks()
        self._waiting: list[tuple[Observation, float]] = []
        self._log_boot: str | None = None  # of the log that is read on by its cursor
        self._counted_before = -math.inf  # what that log holds up to here was counted before
        self._good_at: float | None = None  # as `good_until`, by this process's own eyes
        self._outage: _Outage | None = None
        self._settled = False
        self._budget: ErrorBudget | None = None
        self._looked_at: float | None = None
        self._restarting = False  # when it was last looked at
        self._failed = 0.0  # of what was counted in this cycle
        self._touched: set[float] = set()  # minutes to be written
        self._written_at = -math.inf

    def counted(self, seen: Observation, now: float) -> Observation:
        """The observation with the budget of `now`, this cycle's requests counted in it."""
        self._waiting.append((replace(seen, steps=(), recent=()), now))
        ledger = self._remembered(now)
        if ledger is None:
            return seen
        waiting, self._waiting = self._waiting, []
        for earlier, at in waiting:
            self._count(ledger, earlier, at)
        if now - self._written_at >= KEEP_EVERY_S:
            self.keep(now)
        ledger.forget(now, keep_from=self._marks.good_until)
        self._budget = budget_of(ledger, self._goal, now)
        return replace(seen, budget=self._budget)

    @property
    def budget(self) -> ErrorBudget | None:
        """As of the last cycle; None before the first. For any thread."""
        return self._budget

    def keep(self, now: float) -> None:
        """Writes what changed; a history that is away gets it later."""
        if self._ledger is None or not self._touched:
            return
        rows = [*self._ledger.samples(self._touched), *_mark_rows(self._marks, now)]
        if self._backlog.ask(partial(self._write, rows), False):
            self._touched.clear()
            self._written_at = now

    def _write(self, rows: Sequence[tuple[str, float, float]]) -> bool:
        self._history.append_samples(self._target, rows)
        return True

    def _remembered(self, now: float) -> Ledger | None:
        """The counts, taken over from whoever counted before, once."""
        if self._ledger is None:
            read = partial(_kept, self._history, self._target, self._goal, now)
            kept = self._backlog.ask(read, None)
            if kept is not None:
                self._ledger, self._marks = kept
        return self._ledger

    # ---- one cycle
    def _count(self, ledger: Ledger, seen: Observation, now: float) -> None:
        batch, self._failed = seen.ended, 0.0
        if batch is not None and not self._serves_nothing(seen, batch, now):
            self._settle(ledger, batch, now)
            self._marks = replace(self._marks, good_until=now, boot_id=batch.boot_id)
            self._good_at, self._outage = now, None
        elif batch is None or self._hangs(now):
            self._lose(ledger, now)
        if batch is not None:
            self._read(ledger, batch, seen, now)
        self._follow_restart(ledger, seen, now)

    def _follow_restart(self, ledger: Ledger, seen: Observation, now: float) -> None:
        """What restarts into other settings cost, so that the next ones can be reckoned with."""
        before, self._looked_at = self._looked_at, now
        was, self._restarting = self._restarting, False
        if seen.live is not None:
            self._restarting = seen.live.rebuilding is not None
        if before is None or not (was or self._restarting):
            return
        took = Tally(restart_s=min(max(0.0, now - before), GAP_S), restart_failed=self._failed)
        self._touched.add(ledger.add(now, took))

    def _read(self, ledger: Ledger, batch: ExposureBatch, seen: Observation, now: float) -> None:
        """What the log tells, or the counters where records of it were overwritten unseen."""
        anew = batch.boot_id != self._log_boot
        if anew:  # read from its beginning, it holds what was counted before as well
            self._log_boot, self._counted_before = batch.boot_id, self._marks.log_until
        told = None if anew else self._by_counters(seen.window)
        if batch.overrun and not anew:
            log.warning("availability.log_overrun", target=self._target, counters=told is not None)
        if batch.overrun and told is not None:
            self._add(ledger, now, told)
        else:
            self._add_each(ledger, batch, now)
        until = max((one.ended for one in batch.exposures), default=-math.inf)
        self._marks = replace(self._marks, log_until=max(self._marks.log_until, until))

    def _by_counters(self, window: Window | None) -> Tally | None:
        """Of what came since the last look; None where the window holds what was counted before."""
        fresh = self._looked_at is None or (window is not None and window.start >= self._looked_at)
        return by_counters(window) if window is not None and fresh else None

    def _add_each(self, ledger: Ledger, batch: ExposureBatch, now: float) -> None:
        """Each request in the minute in which it ended, by the daemon's clock."""
        ahead_s = batch.now - now
        by_minute: dict[float, list[Exposure]] = defaultdict(list)
        for one in batch.exposures:
            if one.ended > self._counted_before:
                by_minute[start_of(min(now, one.ended - ahead_s), MINUTE_S)].append(one)
        for minute, requests in by_minute.items():
            self._add(ledger, minute, tallied(requests, self._slo))

    def _add(self, ledger: Ledger, at: float, tally: Tally) -> None:
        if tally.asked > 0:
            self._failed += tally.bad
            self._touched.add(ledger.add(at, tally))

    # ---- outages
    def _serves_nothing(self, seen: Observation, batch: ExposureBatch, now: float) -> bool:
        """Whether requests are there, and nothing comes of them: no end, and not one token."""
        if seen.window is None or batch.exposures or not any(batch.in_flight.values()):
            return False
        silent = seen.window.rates.get("generation_tokens") == 0
        return silent and self._good_at is not None and now > self._good_at

    def _hangs(self, now: float) -> bool:
        return self._good_at is not None and now - self._good_at >= HUNG_S

    def _lose(self, ledger: Ledger, now: float) -> None:
        """The requests that would have come since the last look are lost, until it is known."""
        if self._outage is None:
            rate_rps = ledger.rate_rps(min(now, self._marks.good_until))
            since = now if self._good_at is None else self._good_at
            self._outage = _Outage(rate_rps, since)
        length_s = min(max(0.0, now - self._outage.until), GAP_S)
        self._add(ledger, now, Tally(lost=self._outage.rate_rps * length_s))
        self._outage = replace(self._outage, until=now)

    def _settle(self, ledger: Ledger, batch: ExposureBatch, now: float) -> None:
        """What an outage lost is known once the target answers again.

        In the same boot its log tells what became of every request: nothing is estimated. Another
        boot tells nothing of before its first request, so that the estimate stays until then.
        """
        if self._outage is None and self._settled:
            return
        self._settled = True
        since = self._marks.good_until
        if batch.boot_id != self._marks.boot_id:
            ahead_s = batch.now - now
            first = min((one.arrival - ahead_s for one in batch.exposures), default=math.inf)
            since = max(since, first)
        if math.isfinite(since):
            self._touched.update(ledger.take_back_lost(since))
        # Written at once: what was settled must not be settled again by whoever takes over.
        self._touched.add(start_of(now, MINUTE_S))
        self._written_at = -math.inf


def read_budget(history: History, target: str, goal: AvailabilityGoal, now: float) -> ErrorBudget:
    """The budget by what a daemon kept last, for whoever is no daemon."""
    return budget_of(_kept(history, target, goal, now)[0], goal, now)


def _kept(
    history: History, target: str, goal: AvailabilityGoal, now: float
) -> tuple[Ledger, Marks]:
    since = start_of(now - goal.kept_s, HOUR_S)
    log_until, good_until = (
        found[-1].value if (found := history.samples(target, name, since=since)) else -math.inf
        for name in (LOG_UNTIL, GOOD_UNTIL)
    )
    # The hour before an outage says how many requests are lost in it.
    fine = min(now - FINE_S, max(since, good_until - HOUR_S - MINUTE_S))
    ledger = Ledger(goal.kept_s)
    ledger.restore(
        _tallies(history, target, MINUTELY, start_of(fine, MINUTE_S)),
        _tallies(history, target, HOURLY, since),
    )
    boot_id = history.target_info(target).get("boot_id")
    return ledger, Marks(log_until, good_until, boot_id)


def _tallies(
    history: History, target: str, names: Sequence[str], since: float
) -> Mapping[float, Tally]:
    counts = [
        {one.at: one.value for one in history.samples(target, name, since=since)} for name in names
    ]
    buckets = sorted({at for one in counts for at in one})
    return {at: Tally(*(one.get(at, 0.0) for one in counts)) for at in buckets}


def _mark_rows(marks: Marks, now: float) -> list[tuple[str, float, float]]:
    told = ((LOG_UNTIL, marks.log_until), (GOOD_UNTIL, marks.good_until))
    hour = start_of(now, HOUR_S)
    return [(name, hour, until) for name, until in told if math.isfinite(until)]
