"""What page and API show, as frozen values fit for JSON: numbers that are none are None.

Times are UTC epoch seconds, shares and confidences 0..1, settings {knob: value}. Effects are in
the units of the experiment's outcome (log units for ratios); plus is better.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class HeartbeatView:
    """The last word of the daemon that drives a target."""

    at: float
    age_s: float
    sentence: str
    mode: str
    daemon_id: str
    cycles: int


@dataclass(frozen=True)
class IncumbentView:
    """The settings in force, since when and why."""

    settings: Mapping[str, Any]
    since: float
    why: str


@dataclass(frozen=True)
class ExperimentLine:
    """One experiment on one line; while it runs the figures are those of its last look."""

    id: str
    target: str
    phase: str
    running: bool
    aa: bool
    started_at: float
    ended_at: float | None
    verdict: str | None
    reason: str
    outcome: str
    design: str
    pairs: int
    effect: float | None
    low: float | None
    high: float | None
    confidence: float | None
    predicted_effect: float | None
    proposer: str
    rationale: str
    changed: Mapping[str, tuple[Any, Any]]  # {knob: (control's, treatment's)}
    control: Mapping[str, Any]
    treatment: Mapping[str, Any]


@dataclass(frozen=True)
class AlertView:
    """One episode of an alert. `silenced`: it fires, and a silence keeps it from being told."""

    fingerprint: str
    name: str
    severity: str
    target: str
    summary: str
    starts_at: float
    ends_at: float | None
    firing: bool
    silenced: bool
    labels: Mapping[str, str]


@dataclass(frozen=True)
class TargetLine:
    """One target of the fleet. `health`: ok, late (no word for 5 cycles) or unknown (never any)."""

    name: str
    health: str
    mode: str | None
    heartbeat: HeartbeatView | None
    incumbent: IncumbentView | None
    running: ExperimentLine | None
    alerts: tuple[AlertView, ...]  # those that fire
    verdicts: Mapping[str, int]


@dataclass(frozen=True)
class FleetView:
    """Every target. `undelivered`: messages about alerts that wait to be delivered."""

    now: float
    targets: tuple[TargetLine, ...]
    undelivered: int


@dataclass(frozen=True)
class Objective:
    """A target of the SLO beside what was seen: for `attainment` the share, else the mean time.

    `met`: whether the figure keeps the limit; None where nothing was seen.
    """

    name: str
    limit: float
    unit: str
    seen: float | None
    met: bool | None


@dataclass(frozen=True)
class BudgetView:
    """The error budget over the last `window_s`: `remaining` of it is left, 1 whole and 0 spent.

    `requests`: all that were asked, `failed`: those not served; of both, `lost` are an estimate.
    `remaining` is None below `min_requests`. `lasts_s`: at the last hour's pace, None where nothing
    failed in it. `burn_rates`: by window; 1 spends the budget in exactly `window_s`.
    """

    objective: float
    window_s: float
    reserve: float
    min_requests: int
    requests: float
    failed: float
    lost: float
    availability: float | None
    remaining: float | None
    lasts_s: float | None
    burn_rates: Mapping[str, float | None]
    words: str


@dataclass(frozen=True)
class LiveView:
    """What the daemon last saw; `here` is False where another process drives the target.

    Then the values are those of the last bucket that it kept, and neither the SLO nor the budget is
    known.
    """

    at: float | None
    here: bool
    values: Mapping[str, float | None]
    slo: str | None
    objectives: tuple[Objective, ...]
    budget: BudgetView | None = None


@dataclass(frozen=True)
class SettingsSpell:
    """Which settings were live from `since` to `until` (None: now), and why.

    `changed`: {knob: (before, then)} against the spell before, empty where that is not on the page.
    """

    id: int
    settings: Mapping[str, Any]
    since: float
    until: float | None
    why: str
    experiment: str | None
    changed: Mapping[str, tuple[Any, Any]]


@dataclass(frozen=True)
class SettingsPage:
    """Newest first; `next` is the cursor of the page after this one, None at the end."""

    items: tuple[SettingsSpell, ...]
    next: str | None


@dataclass(frozen=True)
class SampleView:
    at: float
    value: float | None


@dataclass(frozen=True)
class BandPoint:
    """What is expected at a time, with its interval."""

    at: float
    value: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class AnomalyView:
    series: str
    at: float
    value: float | None
    expected: float | None
    score: float | None


@dataclass(frozen=True)
class SeriesView:
    """One series: what was measured, the latest forecast of it, and what was odd, oldest first."""

    name: str
    samples: tuple[SampleView, ...]
    forecast: tuple[BandPoint, ...]
    forecast_model: str | None
    forecast_made_at: float | None
    forecast_note: str | None
    anomalies: tuple[AnomalyView, ...]


@dataclass(frozen=True)
class TargetView:
    """Everything about one target; `series` are those that are forecast."""

    line: TargetLine
    live: LiveView
    goal: str | None
    settings: SettingsPage
    series: tuple[SeriesView, ...]
    other_series: tuple[str, ...]


@dataclass(frozen=True)
class ExperimentPage:
    """Newest first; `next` is the cursor of the page after this one, None at the end."""

    items: tuple[ExperimentLine, ...]
    next: str | None


@dataclass(frozen=True)
class DecisionView:
    """One cycle's decision; `outcome` is None where there was nothing to apply."""

    id: int
    target: str
    at: float
    action: str
    reason: str
    settings: Mapping[str, Any] | None
    experiment: str | None
    outcome: str | None
    outcome_at: float | None
    outcome_note: str
    generation: int | None


@dataclass(frozen=True)
class DecisionPage:
    """Newest first; `next` is the cursor of the page after this one, None at the end."""

    items: tuple[DecisionView, ...]
    next: str | None


@dataclass(frozen=True)
class SilenceView:
    """`state`: waits, active or ended. An empty `target` or `alert` matches all."""

    id: int
    state: str
    target: str
    alert: str
    labels: Mapping[str, str]
    starts_at: float
    ends_at: float
    author: str
    comment: str


@dataclass(frozen=True)
class ActionView:
    """What a person asked of a daemon: the audit trail. `who` is NAME@ADDRESS for page and API."""

    id: int
    target: str
    what: str
    who: str
    note: str
    asked_at: float
    taken_at: float | None
    result: str | None
    experiment: str | None


@dataclass(frozen=True)
class ActionPage:
    """Newest first; `next` is the cursor of the page after this one, None at the end."""

    items: tuple[ActionView, ...]
    next: str | None


@dataclass(frozen=True)
class RequestView:
    """A test that a person declared: waiting (`taken_at` is None), run, or why not (`result`).

    `plan`: the fields of the policy's `experiment` that it changes.
    """

    request: int
    target: str
    who: str
    note: str
    asked_at: float
    taken_at: float | None
    changes: dict[str, Any]
    plan: dict[str, Any]
    experiment: str | None
    verdict: str | None
    result: str | None


@dataclass(frozen=True)
class RequestPage:
    """Newest first; `next` is the cursor of the page after this one, None at the end."""

    items: tuple[RequestView, ...]
    next: str | None


@dataclass(frozen=True)
class ReleaseView:
    """From `at` on the target uses this agent; scores are mean regrets, lower is better."""

    at: float
    version: str
    parent: str
    digest: str
    reason: str
    score: float | None
    before: float | None
    systems: int


@dataclass(frozen=True)
class ModelCheckView:
    """A figure as the agent's model predicted it, and as it was measured. `error`: 0.3 is 30%."""

    at: float
    figure: str
    predicted: float | None
    measured: float | None
    error: float | None
    experiment: str | None


@dataclass(frozen=True)
class AgentView:
    """Which agents a target used, newest first, and how good its model was, oldest first.

    `errors`: the median error by figure over the checks shown.
    """

    target: str
    releases: tuple[ReleaseView, ...]
    checks: tuple[ModelCheckView, ...]
    errors: Mapping[str, float]
