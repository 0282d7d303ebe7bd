"""What the history answers with: frozen values, none of which knows SQL."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple

from autotuner.domain.experiment import Design, Phase, Verdict
from autotuner.domain.knobs import Settings
from autotuner.domain.mode import Mode


class DecisionOutcome(StrEnum):
    """What became of applying a decision's settings. ADVISED ones are never applied."""

    PENDING = "pending"
    APPLIED = "applied"
    FAILED = "failed"
    UNKNOWN = "unknown"
    ADVISED = "advised"


class Ask(StrEnum):
    """What a person may ask of a running daemon."""

    PAUSE = "pause"
    RESUME = "resume"
    ADVISORY = "advisory"
    ROLLBACK = "rollback"
    STOP = "stop"
    EXPERIMENT = "experiment"


class Incumbent(NamedTuple):
    """The settings in force, since when (epoch s) and why."""

    settings: Settings
    since: float
    why: str


@dataclass(frozen=True)
class IncumbentRecord:
    """One line of a target's history of incumbents; `until_at` is None for what is live now."""

    id: int
    target: str
    settings: Settings
    since_at: float
    until_at: float | None
    why: str
    experiment_id: str | None


@dataclass(frozen=True)
class Quarantine:
    """Settings that are not to be tried until `until_at`, None for good, and why."""

    target: str
    settings: Settings
    reason: str
    since_at: float
    until_at: float | None


@dataclass(frozen=True)
class DecisionRecord:
    """One cycle's decision. `outcome` is None where there was nothing to apply.

    `term`: of the leadership under which it was made; None where nobody led.
    """

    id: int
    target: str
    decided_at: float
    action: str
    reason: str
    generation: int | None
    settings: Settings | None
    experiment_id: str | None
    outcome: DecisionOutcome | None
    outcome_at: float | None
    outcome_note: str
    applied_generation: int | None
    term: int | None = None


@dataclass(frozen=True)
class ExperimentSummary:
    """One experiment on one line; while it runs the figures are those of its last look.

    Figures are NaN where nothing was measured; `effect`, `low` and `high` in the outcome's units.
    """

    id: str
    target: str
    phase: Phase
    started_at: float
    ended_at: float | None
    verdict: Verdict | None
    reason: str
    pairs: int
    effect: float
    low: float
    high: float
    confidence: float
    proposer: str
    rationale: str
    predicted_effect: float | None
    control: Settings
    treatment: Settings
    outcome: str = "attainment"
    design: Design = Design.SWITCHBACK

    @property
    def is_aa(self) -> bool:
        return self.control == self.treatment

    @property
    def changed(self) -> dict[str, tuple[Any, Any]]:
        """The knobs that the treatment changes, as (control's value, treatment's value)."""
        changes = self.treatment.changed_from(self.control)
        return {name: (self.control.get(name), value) for name, value in changes.items()}


class Sample(NamedTuple):
    """One bucket of a series; NaN is a hole that was seen as one."""

    at: float
    value: float


@dataclass(frozen=True)
class OutboxMessage:
    """Something to deliver once per (receiver, fingerprint, status, occasion_at).

    `occasion_at` is the alert's `starts_at`, or the time of a reminder that shall go out again.
    """

    receiver: str
    fingerprint: str
    status: str  # firing, resolved
    payload: Mapping[str, Any]
    occasion_at: float


@dataclass(frozen=True)
class Delivery:
    """An outbox row that waits for delivery."""

    id: int
    receiver: str
    fingerprint: str
    status: str
    payload: dict[str, Any]
    attempts: int
    created_at: float
    last_error: str | None


@dataclass(frozen=True)
class Control:
    """What a person asked, who, and what became of it.

    `payload` says what an EXPERIMENT shall be. `taken_at` is None while it waits; `result` says in
    words why it was not run, `experiment_id` names the test that it became.
    """

    id: int
    target: str
    what: Ask
    who: str
    note: str
    asked_at: float
    payload: Mapping[str, Any] | None = None
    taken_at: float | None = None
    result: str | None = None
    experiment_id: str | None = None

    @property
    def waits(self) -> bool:
        return self.taken_at is None


@dataclass(frozen=True)
class Heartbeat:
    """The last cycle of a daemon on a target."""

    daemon_id: str
    target: str
    at: float
    sentence: str
    mode: Mode
    cycles: int


@dataclass(frozen=True)
class TargetStatus:
    """What a status page needs about one target."""

    target: str
    incumbent: Incumbent | None
    running: ExperimentSummary | None
    heartbeat: Heartbeat | None
    last_decision: DecisionRecord | None
    firing_alerts: int
    undelivered: int
    verdicts: Mapping[str, int] = field(default_factory=dict)
