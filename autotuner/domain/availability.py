"""Which requests were served and which failed, counted in buckets over a rolling window. Pure.

What counts, from which source and why: docs/availability.md.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from autotuner.domain.slo import SLO
from autotuner.domain.telemetry import Exposure, Outcome, Window

MINUTE_S, HOUR_S = 60.0, 3600.0
FINE_S = 6 * HOUR_S  # windows up to this are summed by the minute, longer ones by the hour

# Series of the history: a bucket's count. Those by the hour are never thinned nor pruned.
HOURLY = (
    "availability_requests",
    "availability_failed",
    "availability_lost",
    "availability_restart_s",
    "availability_restart_failed",
)
MINUTELY = tuple(f"{name}_1m" for name in HOURLY[:3])
LOG_UNTIL, GOOD_UNTIL = "availability_log_until", "availability_good_until"
LEDGER_SERIES = frozenset((*HOURLY, *MINUTELY, LOG_UNTIL, GOOD_UNTIL))
KEPT_FOR_GOOD = frozenset((*HOURLY, LOG_UNTIL, GOOD_UNTIL))


@dataclass(frozen=True)
class Tally:
    """Requests that ended, those of them that failed, and those `lost` beside them.

    Lost ones reached nobody who could count them: an estimate, so no whole number. `restart_s`: how
    long the target was restarting into other settings, and `restart_failed` what failed meanwhile,
    which is among the failed as well. Only hours hold these two.
    """

    requests: float = 0.0
    failed: float = 0.0
    lost: float = 0.0
    restart_s: float = 0.0
    restart_failed: float = 0.0

    def __add__(self, other: Tally) -> Tally:
        return total((self, other))

    def figures(self) -> tuple[float, ...]:
        """In the order of HOURLY."""
        return self.requests, self.failed, self.lost, self.restart_s, self.restart_failed

    @property
    def asked(self) -> float:
        """All that users asked for."""
        return self.requests + self.lost

    @property
    def bad(self) -> float:
        """All that they did not get."""
        return self.failed + self.lost

    @property
    def failed_share(self) -> float:
        """0..1; NaN where nothing was asked."""
        return self.bad / self.asked if self.asked > 0 else math.nan


NOTHING = Tally()


def total(tallies: Iterable[Tally]) -> Tally:
    """All of them together."""
    rows = [one.figures() for one in tallies]
    return Tally(*map(math.fsum, zip(*rows, strict=True))) if rows else NOTHING


def failed(request: Exposure, slo: SLO) -> bool | None:
    """Whether a finished request counts as failed; None where it counts for nothing.

    Errors and rejections are the service's. So is one that its client gave up without a token once
    TTFT (where the SLO has none, E2EL) had passed: it was asked, and served nothing. Another one
    that its client gave up says nothing of the service.
    """
    if request.outcome is not Outcome.ABORT:
        return request.failed
    patience_s = slo.ttft_s if slo.ttft_s is not None else slo.e2el_s
    if patience_s is None or request.ttft_s is not None:
        return None
    return True if request.e2el_s > patience_s else None


def tallied(requests: Iterable[Exposure], slo: SLO) -> Tally:
    """What the exposure log tells of these requests."""
    judged = [bad for one in requests if (bad := failed(one, slo)) is not None]
    return Tally(float(len(judged)), float(sum(judged)))


_FAILURES = ("requests_error", "requests_rejected")


def by_counters(window: Window) -> Tally | None:
    """What the server's own counters tell of a window; None where they don't tell requests.

    What clients gave up is left out: the counters do not say how long those had waited.
    """
    if not math.isfinite(window.requests):
        return None
    length_s = window.length_s
    aborted = window.rates.get("requests_abort", 0.0) * length_s
    bad = sum(window.rates.get(name, 0.0) for name in _FAILURES) * length_s
    return Tally(max(0.0, window.requests - aborted), max(0.0, bad))


class Ledger:
    """Tallies by minute and by hour. Times in seconds since the epoch; `window_s` is kept.

    A window reaches back to the start of the bucket that its own start lies in: up to a minute
    too far where it is at most FINE_S long, up to an hour where it is longer.
    """

    def __init__(self, window_s: float) -> None:
        self._window_s = window_s
        self._minutes: dict[float, Tally] = {}
        self._hours: dict[float, Tally] = {}
        self._had_lost: set[float] = set()

    def restore(self, minutes: Mapping[float, Tally], hours: Mapping[float, Tally]) -> None:
        """Takes over what was kept before; both hold the same requests."""
        self._minutes, self._hours = dict(minutes), dict(hours)
        self._had_lost = {minute for minute, seen in minutes.items() if seen.lost}

    def add(self, at: float, tally: Tally) -> float:
        """Counts what ended at `at`; returns the start of the minute that it is counted in."""
        minute, hour = start_of(at, MINUTE_S), start_of(at, HOUR_S)
        self._minutes[minute] = self.minute(minute) + tally
        self._hours[hour] = self.hour(hour) + tally
        if tally.lost:
            self._had_lost.add(minute)
        return minute

    def take_back_lost(self, since: float) -> tuple[float, ...]:
        """Nothing was lost from the minute of `since` on; the minutes that this changes."""
        first = start_of(since, MINUTE_S)
        changed = tuple(m for m, seen in self._minutes.items() if m >= first and seen.lost)
        for minute in changed:
            hour, lost = start_of(minute, HOUR_S), self._minutes[minute].lost
            self._minutes[minute] = replace(self._minutes[minute], lost=0.0)
            kept = self.hour(hour)
            self._hours[hour] = replace(kept, lost=max(0.0, kept.lost - lost))
        return changed

    def minute(self, start: float) -> Tally:
        return self._minutes.get(start, NOTHING)

    def hour(self, start: float) -> Tally:
        return self._hours.get(start, NOTHING)

    def samples(self, minutes: Collection[float]) -> list[tuple[str, float, float]]:
        """(series, bucket, count) of these minutes, and of the hours that they lie in.

        A count of a minute that is 0 and always was is left out.
        """
        rows = []
        for at in sorted(minutes):
            seen = self.minute(at)
            told = (seen.requests > 0, seen.failed > 0, at in self._had_lost)
            rows += [
                row for row, there in zip(_rows(MINUTELY, at, seen), told, strict=True) if there
            ]
        for at in sorted({start_of(minute, HOUR_S) for minute in minutes}):
            rows += _rows(HOURLY, at, self.hour(at))
        return rows

    def window(self, now: float, length_s: float) -> Tally:
        """All that is counted in the last `length_s`."""
        fine = length_s <= FINE_S
        buckets = self._minutes if fine else self._hours
        first = start_of(now - length_s, MINUTE_S if fine else HOUR_S)
        return total(seen for start, seen in buckets.items() if start >= first)

    def rate_rps(self, until: float) -> float:
        """Requests per second in the hour before `until`; over less where less is known; or 0."""
        begins = min((m for m in self._minutes if m > until - HOUR_S - MINUTE_S), default=until)
        span_s = min(HOUR_S, until - begins)
        return self.window(until, HOUR_S).requests / span_s if span_s > 0 else 0.0

    def forget(self, now: float, keep_from: float = math.inf) -> None:
        """Drops what no window reaches any more; minutes from `keep_from` on stay."""
        fine = min(start_of(now - FINE_S, MINUTE_S), start_of(keep_from, MINUTE_S))
        coarse = start_of(now - self._window_s, HOUR_S)
        for buckets, first in ((self._minutes, fine), (self._hours, coarse)):
            for start in [start for start in buckets if start < first]:
                del buckets[start]
        self._had_lost &= self._minutes.keys()


def start_of(at: float, length_s: float) -> float:
    """The start of the bucket of that length in which `at` lies; infinite times stay."""
    return math.floor(at / length_s) * length_s if math.isfinite(at) else at


def _rows(names: Sequence[str], at: float, seen: Tally) -> list[tuple[str, float, float]]:
    return [(name, at, count) for name, count in zip(names, seen.figures(), strict=False)]
