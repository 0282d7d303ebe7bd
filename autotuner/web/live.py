"""What the daemon last saw of a target, set against its SLO."""

from __future__ import annotations

import math
from collections.abc import Mapping

from autotuner.domain.availability import LEDGER_SERIES
from autotuner.domain.goals import Goal
from autotuner.domain.slo import SLO
from autotuner.web.lines import finite
from autotuner.web.sources import Sources
from autotuner.web.views import BudgetView, LiveView, Objective

_BUCKETS_S = 3600.0  # chosen: a bucket older than this says nothing about now
_TIMES = ("ttft_s", "gap_max_s", "tpot_s", "e2el_s")


def live_view(sources: Sources, target: str, now: float) -> LiveView:
    """From the daemon of this process that drives `target`, else from what another one kept."""
    glimpse = sources.live(target)
    if glimpse is None or not glimpse.values:
        at, values = _kept(sources, target, now)
    else:
        at, values = glimpse.at, dict(glimpse.values)
    return LiveView(
        at=at,
        here=glimpse is not None,
        values={name: finite(value) for name, value in sorted(values.items())},
        slo=glimpse.slo.describe() if glimpse else None,
        objectives=objectives(glimpse.slo, glimpse.goal, values) if glimpse else (),
        budget=BudgetView(**glimpse.budget.figures()) if glimpse and glimpse.budget else None,
    )


def objectives(slo: SLO, goal: Goal, values: Mapping[str, float]) -> tuple[Objective, ...]:
    """Attainment against the goal's, and the mean of each time against the limit per request."""
    found = [_objective("attainment", goal.attainment, "share", values.get("attainment"))]
    for name in _TIMES:
        limit = getattr(slo, name)
        if limit is not None:
            found.append(_objective(name, limit, "s", values.get(name)))
    return tuple(found)


def _objective(name: str, limit: float, unit: str, seen: float | None) -> Objective:
    seen = finite(seen)
    kept = None if seen is None else seen >= limit if unit == "share" else seen <= limit
    return Objective(name, limit, unit, seen, kept)


def _kept(sources: Sources, target: str, now: float) -> tuple[float | None, dict[str, float]]:
    """The last bucket of each series within the last hour, and the start of the latest."""
    history = sources.history
    last = {}
    for name in frozenset(history.series(target)) - LEDGER_SERIES:
        found = history.samples(target, name, since=now - _BUCKETS_S)
        if found and math.isfinite(found[-1].value):
            last[name] = found[-1]
    at = max((sample.at for sample in last.values()), default=None)
    return at, {name: sample.value for name, sample in last.items()}
