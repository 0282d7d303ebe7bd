"""From the history's records to the lines that page and API show; no I/O."""

from __future__ import annotations

import math
from collections.abc import Sequence

from autotuner.domain.forecasts import Alert, AnomalyScore, Forecast
from autotuner.domain.learning import AgentRelease, ModelCheck
from autotuner.domain.silences import Silence
from autotuner.history.records import (
    Control,
    DecisionRecord,
    ExperimentSummary,
    Heartbeat,
    IncumbentRecord,
    Sample,
)
from autotuner.web.views import (
    ActionView,
    AlertView,
    AnomalyView,
    BandPoint,
    DecisionView,
    ExperimentLine,
    HeartbeatView,
    ModelCheckView,
    ReleaseView,
    RequestView,
    SampleView,
    SettingsSpell,
    SilenceView,
)


def finite(value: float | None) -> float | None:
    """None for what is no number, or has no end: JSON has neither."""
    return value if value is not None and math.isfinite(value) else None


def heartbeat_view(beat: Heartbeat | None, now: float) -> HeartbeatView | None:
    if beat is None:
        return None
    return HeartbeatView(
        beat.at, max(0.0, now - beat.at), beat.sentence, beat.mode.value, beat.daemon_id,
        beat.cycles,
    )  # fmt: skip


def experiment_line(one: ExperimentSummary) -> ExperimentLine:
    return ExperimentLine(
        id=one.id,
        target=one.target,
        phase=one.phase.value,
        running=one.verdict is None and one.phase.value != "closed",
        aa=one.is_aa,
        started_at=one.started_at,
        ended_at=one.ended_at,
        verdict=one.verdict.value if one.verdict else None,
        reason=one.reason,
        outcome=one.outcome,
        design=one.design.value,
        pairs=one.pairs,
        effect=finite(one.effect),
        low=finite(one.low),
        high=finite(one.high),
        confidence=finite(one.confidence),
        predicted_effect=finite(one.predicted_effect),
        proposer=one.proposer,
        rationale=one.rationale,
        changed=one.changed,
        control=dict(one.control),
        treatment=dict(one.treatment),
    )


def alert_view(one: Alert, muted: bool) -> AlertView:
    """`muted`: a silence keeps it from being told."""
    return AlertView(
        fingerprint=one.fingerprint,
        name=one.name,
        severity=one.severity,
        target=one.target,
        summary=one.summary,
        starts_at=one.starts_at,
        ends_at=one.ends_at,
        firing=one.firing,
        silenced=muted,
        labels=dict(one.labels),
    )


def silence_view(one: Silence, now: float) -> SilenceView:
    return SilenceView(
        id=one.id,
        state=one.state(now),
        target=one.target,
        alert=one.alert,
        labels=dict(one.labels),
        starts_at=one.starts_at,
        ends_at=one.ends_at,
        author=one.author,
        comment=one.comment,
    )


def decision_view(one: DecisionRecord) -> DecisionView:
    return DecisionView(
        id=one.id,
        target=one.target,
        at=one.decided_at,
        action=one.action,
        reason=one.reason,
        settings=dict(one.settings) if one.settings is not None else None,
        experiment=one.experiment_id,
        outcome=one.outcome.value if one.outcome else None,
        outcome_at=one.outcome_at,
        outcome_note=one.outcome_note,
        generation=one.applied_generation,
    )


def action_view(one: Control) -> ActionView:
    return ActionView(
        id=one.id,
        target=one.target,
        what=one.what.value,
        who=one.who,
        note=one.note,
        asked_at=one.asked_at,
        taken_at=one.taken_at,
        result=one.result,
        experiment=one.experiment_id,
    )


def spells(records: Sequence[IncumbentRecord], limit: int) -> tuple[SettingsSpell, ...]:
    """Up to `limit` of `records` (newest first), each with what it changed from the one before."""
    earlier = [*records[1:], None]
    return tuple(_spell(now, then) for now, then in zip(records[:limit], earlier, strict=False))


def _spell(record: IncumbentRecord, before: IncumbentRecord | None) -> SettingsSpell:
    changed = {} if before is None else record.settings.changed_from(before.settings)
    old = {} if before is None else dict(before.settings)
    return SettingsSpell(
        id=record.id,
        settings=dict(record.settings),
        since=record.since_at,
        until=record.until_at,
        why=record.why,
        experiment=record.experiment_id,
        changed={name: (old.get(name), value) for name, value in changed.items()},
    )


def sample_views(samples: Sequence[Sample]) -> tuple[SampleView, ...]:
    return tuple(SampleView(one.at, finite(one.value)) for one in samples)


def forecast_points(forecast: Forecast | None) -> tuple[BandPoint, ...]:
    points = forecast.points if forecast else ()
    return tuple(BandPoint(p.at, finite(p.value), finite(p.low), finite(p.high)) for p in points)


def anomaly_view(one: AnomalyScore) -> AnomalyView:
    return AnomalyView(
        one.series, one.at, finite(one.value), finite(one.expected), finite(one.score)
    )


def release_view(one: AgentRelease) -> ReleaseView:
    return ReleaseView(
        at=one.at,
        version=one.version,
        parent=one.parent,
        digest=one.digest,
        reason=one.reason,
        score=finite(one.score),
        before=finite(one.before),
        systems=one.systems,
    )


def check_view(one: ModelCheck) -> ModelCheckView:
    return ModelCheckView(
        at=one.at,
        figure=one.figure,
        predicted=finite(one.predicted),
        measured=finite(one.measured),
        error=finite(one.error),
        experiment=one.experiment or None,
    )


def request_view(one: Control, verdict: str | None) -> RequestView:
    """A declared test, with the verdict of the test that it became."""
    payload = one.payload or {}
    return RequestView(
        request=one.id, target=one.target, who=one.who, note=one.note, asked_at=one.asked_at,
        taken_at=one.taken_at, changes=dict(payload.get("changes", {})),
        plan=dict(payload.get("plan", {})), experiment=one.experiment_id, verdict=verdict,
        result=one.result or None,
    )  # fmt: skip
