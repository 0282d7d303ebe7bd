"""What happened between two snapshots. Pure: no clock, no I/O."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from autotuner.domain.energy import Stretch, used
from autotuner.domain.errors import AutotunerError
from autotuner.domain.telemetry import Histogram, Snapshot, Window


class WindowRefusedError(AutotunerError):
    """No honest window can be made of these snapshots; the text says why."""


@dataclass(frozen=True)
class Bounds:
    """How old and how long a window may be, in seconds."""

    max_length_s: float = 600.0
    max_age_s: float = 60.0


_UNBOUNDED = Bounds(math.inf, math.inf)


def between(
    before: Snapshot, after: Snapshot, bounds: Bounds | None = None, now: float | None = None
) -> Window:
    """The window from `before` to `after`; rates per second, gauges as at its end.

    A counter that fell or vanished, or a server that started anew, is a restart: everything
    observed since it is counted whole and `resets` names what showed it (the rates are then a
    lower bound). A series that was not there before was born in the window and counts from 0.
    A histogram without an observation is left out, save `e2el_s` when requests were served: that
    is not idleness but an invalid window.

    Raises WindowRefusedError for snapshots out of order or of the same moment, and, where
    `bounds` are given, for those too far apart or (with `now`) too old.
    """
    _refuse_unfit(before, after, bounds or _UNBOUNDED, now)
    resets = _resets(before, after)
    base = Snapshot(before.at) if resets else before
    deltas = {name: value - base.counters.get(name, 0.0) for name, value in after.counters.items()}
    histograms = {
        name: seen.minus(base.histograms.get(name, _EMPTY))
        for name, seen in after.histograms.items()
    }
    length_s = after.at - before.at
    return Window(
        start=before.at,
        end=after.at,
        requests=_finished(deltas, histograms),
        rates={name: delta / length_s for name, delta in deltas.items()},
        gauges=dict(after.gauges),
        histograms=_observed(histograms, served=_served(deltas)),
        resets=resets,
        energy=used(before.energy, after.energy, Stretch.whole(length_s)),
    )


_EMPTY = Histogram((), (), 0.0)


def _refuse_unfit(before: Snapshot, after: Snapshot, bounds: Bounds, now: float | None) -> None:
    length_s = after.at - before.at
    if not math.isfinite(length_s) or length_s <= 0:
        raise WindowRefusedError(
            f"snapshots at {before.at:.3f} and {after.at:.3f}: the second must be the later one"
        )
    if length_s > bounds.max_length_s:
        raise WindowRefusedError(
            f"the snapshots lie {length_s:.0f} s apart, more than {bounds.max_length_s:.0f} s: "
            "too much may have happened in between"
        )
    if now is not None and now - after.at > bounds.max_age_s:
        raise WindowRefusedError(
            f"the last snapshot is {now - after.at:.0f} s old, more than {bounds.max_age_s:.0f} s"
        )


def _resets(before: Snapshot, after: Snapshot) -> tuple[str, ...]:
    """The names whose fall or loss shows that the server started anew."""
    fell = [
        name
        for name, value in before.counters.items()
        if name not in after.counters or after.counters[name] < value
    ]
    for name, seen in before.histograms.items():
        if name not in after.histograms or _fell(seen, after.histograms[name]):
            fell.append(name)
    started = before.gauges.get("started_at"), after.gauges.get("started_at")
    if None not in started and started[0] != started[1]:
        fell.append("started_at")
    return tuple(sorted(fell))


def _fell(before: Histogram, after: Histogram) -> bool:
    return before.bounds != after.bounds or any(
        b > a for b, a in zip(before.counts, after.counts, strict=True)
    )


def _finished(deltas: Mapping[str, float], histograms: Mapping[str, Histogram]) -> float:
    """Requests that ended in the window; NaN when the server gives no way to tell."""
    if "requests" in deltas:
        return deltas["requests"]
    seen = histograms.get("e2el_s")
    return seen.count if seen is not None else math.nan


_UNSERVED = ("requests_abort", "requests_error", "requests_rejected")


def _served(deltas: Mapping[str, float]) -> float:
    """Requests that got their answer; as many as ended where their outcomes are not told."""
    return deltas.get("requests", 0.0) - sum(deltas.get(name, 0.0) for name in _UNSERVED)


def _observed(histograms: Mapping[str, Histogram], served: float) -> dict[str, Histogram]:
    # A request may end in a window in which no first token came: its TTFT belongs to an earlier
    # one. Left empty here, such a histogram would pass for a broken one.
    return {
        name: seen
        for name, seen in histograms.items()
        if seen.count != 0 or (name == "e2el_s" and served > 0)
    }
