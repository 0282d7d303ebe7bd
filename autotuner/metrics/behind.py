"""A proxy's page and what the server behind it tells, as one snapshot. It knows no wire names.

What the proxy saw of requests is exact and counts; what only the engine knows is the server's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from autotuner.domain.errors import TargetUnavailableError
from autotuner.domain.telemetry import Snapshot
from autotuner.metrics.canonical import Recognised
from autotuner.metrics.carried import Carry
from autotuner.metrics.per_event import tokens_per_event

# How requests ended is what the proxy says, which sees those too that never reached the server.
_OUTCOMES = "requests"
# Of the server where it tells them: requests in its batch, not all that are on their way.
_ENGINES = ("running",)


class Behind:
    """Joins what one source reads over time. For one thread at a time.

    The server is restarted again and again while it is tuned, and its page is away meanwhile: its
    counts go on, so that this never reads as a restart of the whole.
    """

    def __init__(self) -> None:
        self._carry = Carry()
        self._counts: Snapshot | None = None

    def snapshot(self, seen: Recognised, at: float) -> Snapshot:
        """The page as of `at`, with the server's part where there is, or was, one."""
        own = seen.at(at)
        if seen.family is None or (seen.behind is None and self._counts is None):
            return _with_events(own)
        if seen.behind is not None:
            self._counts = self._carried(seen.behind.at(at))
        gauges = {} if seen.behind is None else seen.behind.gauges
        return _with_events(_joined(own, self._counts or own, gauges))

    def _carried(self, now: Snapshot) -> Snapshot:
        try:
            return self._carry.on(now)
        except TargetUnavailableError:  # another version, with other buckets: its counts start anew
            self._carry = Carry()
            return self._carry.on(now)


def _joined(own: Snapshot, counts: Snapshot, gauges: Mapping[str, float]) -> Snapshot:
    counters = {n: v for n, v in counts.counters.items() if not n.startswith(_OUTCOMES)}
    engine = {n: gauges[n] for n in _ENGINES if n in gauges}
    # A request waits before the proxy lets it through, or in the server.
    waiting = [g["waiting"] for g in (own.gauges, gauges) if "waiting" in g]
    return replace(
        own,
        counters={**counters, **own.counters},
        gauges={
            **gauges, **own.gauges, **engine, **({"waiting": sum(waiting)} if waiting else {}),
        },
        histograms={**counts.histograms, **own.histograms},
    )  # fmt: skip


def _with_events(snapshot: Snapshot) -> Snapshot:
    tokens = tokens_per_event(snapshot)
    if tokens is None:
        return snapshot
    return replace(snapshot, gauges={**snapshot.gauges, "tokens_per_event": tokens})
