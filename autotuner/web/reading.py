"""Read models: what page and API show of fleet, targets, tests, alerts and agents.

Reads the history and what the daemons of this process last saw, and changes nothing. Every list
is newest first; a cursor is as the page before told it. Raises UnknownNameError for a name that
nobody knows and RequestError for a cursor that is none.
"""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Sequence
from itertools import islice
from typing import Any

from autotuner.alerts.inhibition import silenced
from autotuner.domain.availability import LEDGER_SERIES
from autotuner.domain.experiment import Verdict
from autotuner.domain.learning import ModelCheck
from autotuner.history.records import TargetStatus
from autotuner.report.data import report_data
from autotuner.watch import FORECAST_KINDS
from autotuner.web.cursors import cursor_of, id_before, number_before
from autotuner.web.lines import (
    action_view,
    alert_view,
    anomaly_view,
    check_view,
    decision_view,
    experiment_line,
    forecast_points,
    heartbeat_view,
    release_view,
    sample_views,
    silence_view,
    spells,
)
from autotuner.web.live import live_view
from autotuner.web.problems import UnknownNameError
from autotuner.web.sources import Sources
from autotuner.web.views import (
    ActionPage,
    AgentView,
    AlertView,
    DecisionPage,
    ExperimentPage,
    FleetView,
    IncumbentView,
    SeriesView,
    SettingsPage,
    SilenceView,
    TargetLine,
    TargetView,
)

DAY_S = 86400.0
RECENT_S = DAY_S  # of samples and anomalies, where nobody says how much
CHECKS_S = 7 * DAY_S


def fleet(sources: Sources, now: float) -> FleetView:
    """Every target on one line each, by name."""
    found = [sources.history.status(name) for name in sources.history.targets()]
    undelivered = max((one.undelivered for one in found), default=0)  # counts over all targets
    return FleetView(now, tuple(_line(sources, one, now) for one in found), undelivered)


def target(sources: Sources, name: str, now: float, *, recent_s: float = RECENT_S) -> TargetView:
    """One target; its series go back `recent_s`."""
    status = _known(sources, name)
    goal = seen.goal if (seen := sources.live(name)) else None
    hidden = FORECAST_KINDS.keys() | LEDGER_SERIES  # counts: figures of theirs are in the budget
    others = (one for one in sources.history.series(name) if one not in hidden)
    return TargetView(
        line=_line(sources, status, now),
        live=live_view(sources, name, now),
        goal=f"{goal.kind}, attainment {goal.attainment:g}" if goal else None,
        settings=settings(sources, name, limit=10),
        series=tuple(series(sources, name, one, since=now - recent_s) for one in FORECAST_KINDS),
        other_series=tuple(others),
    )


def settings(
    sources: Sources, name: str, *, cursor: str | None = None, limit: int = 20
) -> SettingsPage:
    """Which settings were live when, and why."""
    _known(sources, name)
    before = number_before(cursor)
    found = sources.history.incumbents(name, before=before, limit=limit + 1)
    last = str(found[limit - 1].id) if len(found) > limit else None
    return SettingsPage(spells(found, limit), cursor_of(last) if last else None)


def series(
    sources: Sources,
    name: str,
    series_name: str,
    *,
    since: float,
    until: float | None = None,
) -> SeriesView:
    """What was measured in [since, until), the latest forecast, and the anomalies in between."""
    _known(sources, name)
    history = sources.history
    forecast = history.latest_forecast(name, series_name)
    odd = history.anomalies(name, since=since)
    inside = [one for one in odd if one.series == series_name and (until is None or one.at < until)]
    return SeriesView(
        name=series_name,
        samples=sample_views(history.samples(name, series_name, since=since, until=until)),
        forecast=forecast_points(forecast),
        forecast_model=forecast.model if forecast else None,
        forecast_made_at=forecast.made_at if forecast else None,
        forecast_note=forecast.note if forecast else None,
        anomalies=tuple(anomaly_view(one) for one in reversed(inside)),
    )


def experiments(
    sources: Sources,
    *,
    target: str | None = None,
    verdict: Verdict | None = None,
    cursor: str | None = None,
    limit: int = 20,
) -> ExperimentPage:
    """Tests of all targets or of one, with any verdict or that one."""
    if target is not None:
        _known(sources, target)
    before = id_before(cursor)
    found = sources.history.experiments(
        target=target, verdict=verdict, before=before, limit=limit + 1
    )
    more = cursor_of(found[limit - 1].id) if len(found) > limit else None
    return ExperimentPage(tuple(map(experiment_line, found[:limit])), more)


def experiment(sources: Sources, experiment_id: str) -> dict[str, Any]:
    """One test whole, as `autotuner.report.data.report_data` lays it out.

    Slots, pairs, looks (the confidence and interval after each pair), guardrails, plan, the words
    of the report, and the proposal's explanation.
    """
    history = sources.history
    found = history.experiment(experiment_id)
    if found is None:
        raise UnknownNameError("experiment", experiment_id, "give an id as /experiments lists it")
    return report_data(found, history.ended_at(experiment_id), history.explanation(experiment_id))


def decisions(
    sources: Sources, name: str, *, cursor: str | None = None, limit: int = 50
) -> DecisionPage:
    """What the daemon decided, cycle by cycle."""
    _known(sources, name)
    before = number_before(cursor)
    found = sources.history.decisions(name, before=before, limit=limit + 1)
    more = cursor_of(found[limit - 1].id) if len(found) > limit else None
    return DecisionPage(tuple(map(decision_view, found[:limit])), more)


def alerts(
    sources: Sources,
    now: float,
    *,
    target: str | None = None,
    firing: bool | None = None,
    since: float | None = None,
    limit: int = 200,
) -> tuple[AlertView, ...]:
    """Those that fire, and those of the last week (or from `since` on) that are over.

    `firing`: only those that do, or do not. Silenced ones are among them, and marked.
    """
    if target is not None:
        _known(sources, target)
    quiet = sources.history.silences(now)
    names = [target] if target is not None else sources.history.targets()
    found = [one for name in names for one in sources.history.firing_alerts(name)]
    found.sort(key=lambda one: -one.starts_at)
    if firing:
        return tuple(alert_view(one, silenced(one, quiet, now)) for one in found[:limit])
    start = now - 7 * DAY_S if since is None else since
    past = sources.history.alerts(target, since=start, limit=limit)
    kept = (one for one in past if firing is None or not one.firing)
    return tuple(
        alert_view(one, one.firing and silenced(one, quiet, now)) for one in islice(kept, limit)
    )


def silences(sources: Sources, now: float, *, ended: bool = False) -> tuple[SilenceView, ...]:
    """Those that hold or wait; with `ended` those that are over as well."""
    found = sources.history.silences(None if ended else now)
    return tuple(silence_view(one, now) for one in found)


def actions(
    sources: Sources, *, target: str | None = None, cursor: str | None = None, limit: int = 50
) -> ActionPage:
    """What people asked of the daemons, by whatever way."""
    if target is not None:
        _known(sources, target)
    before = number_before(cursor)
    found = sources.history.controls(target, before=before, limit=limit + 1)
    more = cursor_of(found[limit - 1].id) if len(found) > limit else None
    return ActionPage(tuple(map(action_view, found[:limit])), more)


def agent(sources: Sources, name: str, now: float, *, checks_s: float = CHECKS_S) -> AgentView:
    """Which agents the target used, and how good its model was over the last `checks_s`."""
    _known(sources, name)
    found = sources.history.model_checks(name, since=now - checks_s)
    return AgentView(
        target=name,
        releases=tuple(map(release_view, sources.history.agent_releases(name))),
        checks=tuple(map(check_view, found)),
        errors=_median_errors(found),
    )


def _median_errors(checks: Sequence[ModelCheck]) -> dict[str, float]:
    errors: dict[str, list[float]] = defaultdict(list)
    for check in checks:
        if math.isfinite(check.error):
            errors[check.figure].append(check.error)
    return {figure: statistics.median(seen) for figure, seen in errors.items()}


def _known(sources: Sources, name: str) -> TargetStatus:
    sources.expect(name)
    return sources.history.status(name)


def _line(sources: Sources, status: TargetStatus, now: float) -> TargetLine:
    incumbent, beat = status.incumbent, status.heartbeat
    quiet = sources.history.silences(now)
    firing = sources.history.firing_alerts(status.target)
    late = beat is not None and now - beat.at > sources.late_after_s
    return TargetLine(
        name=status.target,
        health="unknown" if beat is None else "late" if late else "ok",
        mode=beat.mode.value if beat else None,
        heartbeat=heartbeat_view(beat, now),
        incumbent=IncumbentView(dict(incumbent.settings), incumbent.since, incumbent.why)
        if incumbent
        else None,
        running=experiment_line(status.running) if status.running else None,
        alerts=tuple(alert_view(one, silenced(one, quiet, now)) for one in firing),
        verdicts=dict(status.verdicts),
    )
