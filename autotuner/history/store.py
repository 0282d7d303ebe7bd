"""The history's front: each method is one transaction, durable when it returns; or see `together`.

Knows which store function serves which question; the SQL stands in the `*_store` modules. Every
method raises HistoryError, with a text fit for a user, when the database can't do what is asked.
Times are UTC epoch seconds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

from sqlalchemy import Engine

from autotuner.domain.experiment import Experiment, Verdict
from autotuner.domain.forecasts import Alert, AnomalyScore, Forecast
from autotuner.domain.knobs import Settings
from autotuner.domain.mode import Mode
from autotuner.domain.ports import PastTrial
from autotuner.history import (
    alerts_store,
    decisions_store,
    experiments_store,
    operations_store,
    outbox_store,
    pruning,
    queries,
    samples_store,
    settings_store,
)
from autotuner.history.engine import Database, open_engine
from autotuner.history.records import (
    Ask,
    Control,
    DecisionOutcome,
    DecisionRecord,
    Delivery,
    ExperimentSummary,
    Incumbent,
    IncumbentRecord,
    OutboxMessage,
    Sample,
    TargetStatus,
)
from autotuner.history.upgrade import check_current, upgrade


def open_history(url: str, *, migrate: bool = True) -> History:
    """The history at `url`, its tables upgraded first (or, without `migrate`, checked).

    Raises HistoryError for a bad URL, an unwritable path, a database newer than this code, and,
    without `migrate`, one that is older.
    """
    if migrate:
        upgrade(url)
    else:
        check_current(url)
    return History(open_engine(url))


class History:
    """All that is remembered about targets; safe to share between threads and processes."""

    def __init__(self, engine: Engine) -> None:
        self._db = Database(engine)

    def close(self) -> None:
        """Give all connections back."""
        self._db.close()

    def together(self) -> AbstractContextManager[None]:
        """What this thread writes inside the block is kept as a whole or not at all.

        Durable when the block has been left; keep it short, since others wait for its lock.
        """
        return self._db.together()

    # ---- targets and settings
    def record_target(
        self, name: str, *, kind: str, url: str, at: float, info: Mapping[str, Any] | None = None
    ) -> None:
        """A target must be recorded before anything about it; again updates it."""
        self._db.write(settings_store.write_target, name, kind, url, at, dict(info or {}))

    def target_info(self, name: str) -> dict[str, Any]:
        """What `record_target` was last told; empty for a target that is not known."""
        return self._db.read(settings_store.read_target_info, name)

    def record_settings(self, settings: Settings, at: float) -> str:
        """The digest under which `settings` are stored."""
        self._db.write(settings_store.write_settings, [settings], at)
        return settings.digest

    def settings(self, digest: str) -> Settings | None:
        return self._db.read(settings_store.read_settings, [digest]).get(digest)

    def set_incumbent(
        self,
        target: str,
        settings: Settings,
        *,
        at: float,
        why: str,
        experiment_id: str | None = None,
    ) -> None:
        """`settings` are live from `at` on. The same settings again change nothing.

        When a decision leads here, call this before `decision_done`: after a crash in between
        the decision is still unfinished and is resolved by reading the target back.
        """
        self._db.write(settings_store.write_incumbent, target, settings, at, why, experiment_id)

    def incumbent(self, target: str) -> Incumbent | None:
        return self._db.read(settings_store.read_incumbent, target)

    def incumbents(
        self, target: str, *, before: int | None = None, limit: int = 50
    ) -> list[IncumbentRecord]:
        """What was live when, newest first; `before` is the id to go on from."""
        return self._db.read(settings_store.read_incumbents, target, before, limit)

    def quarantine(
        self,
        target: str,
        settings: Settings,
        *,
        reason: str,
        at: float,
        until: float | None = None,
    ) -> None:
        """`settings` are not to be proposed for `target` until `until` (None: for good)."""
        self._db.write(settings_store.write_quarantine, target, settings, reason, at, until)

    def quarantined(self, target: str, now: float) -> frozenset[str]:
        """The digests never to propose at `now`."""
        return frozenset(self.quarantines(target, now))

    def quarantines(self, target: str, now: float) -> dict[str, float]:
        """The digests never to propose at `now`, each with its end (infinite: for good)."""
        return self._db.read(settings_store.read_quarantines, target, now)

    def record_agent(
        self, name: str, version: str, *, digest: str, info: Mapping[str, Any], at: float
    ) -> None:
        self._db.write(settings_store.write_agent, name, version, digest, dict(info), at)

    # ---- experiments
    def record_experiment(
        self,
        experiment: Experiment,
        *,
        at: float | None = None,
        predicted_effect: float | None = None,
    ) -> None:
        """Bring the stored experiment to this value; only rows that differ are written.

        `at` is kept as the end of a closed one (default: the end of its last slot);
        `predicted_effect`, once given, is kept. Raises HistoryError for an experiment that is
        stored as closed otherwise: a verdict is never rewritten.
        """
        self._db.write(experiments_store.write_experiment, experiment, at, predicted_effect)

    def experiment(self, experiment_id: str) -> Experiment | None:
        """The experiment with all its slots, pairs and looks."""
        return self._db.read(experiments_store.read_experiment, experiment_id)

    def open_experiments(self, target: str) -> list[Experiment]:
        """Those not closed, oldest first."""
        return self._db.read(experiments_store.read_open, target)

    def close_orphans(self, target: str, now: float, reason: str) -> list[Experiment]:
        """Close every open experiment of `target` as ABORTED; returns them as closed."""
        return self._db.write(experiments_store.close_orphans, target, now, reason)

    def trials(self, target: str, limit: int = 200) -> list[PastTrial]:
        """The last `limit` finished experiments, oldest first, without ABORTED ones and A/A tests.

        `effect` is NaN where no pair was counted (a hard limit ended the test at once).
        """
        return self._db.read(experiments_store.read_trials, target, limit)

    def count_tests(self, target: str) -> tuple[int, int]:
        """How many candidates were tested so far, and how many of them were accepted.

        For the levels of further tests. A/A tests and confirm runs are left out, and tests that
        were aborted before their first pair: nothing was looked at.
        """
        return self._db.read(experiments_store.count_tests, target)

    def experiments(
        self,
        *,
        target: str | None = None,
        verdict: Verdict | None = None,
        before: str | None = None,
        limit: int = 20,
    ) -> list[ExperimentSummary]:
        """Newest first; `before` is the id of the last one seen."""
        return self._db.read(queries.list_experiments, target, verdict, before, limit)

    def accepted_changes(
        self, target: str | None = None, *, before: str | None = None, limit: int = 20
    ) -> list[ExperimentSummary]:
        return self.experiments(target=target, verdict=Verdict.ACCEPTED, before=before, limit=limit)

    # ---- decisions
    def record_decision(
        self,
        target: str,
        action: str,
        reason: str,
        *,
        at: float,
        generation: int | None = None,
        settings: Settings | None = None,
        experiment_id: str | None = None,
        advisory: bool = False,
    ) -> int:
        """The id of the decision, recorded BEFORE acting on it.

        `action`: HOLD, START, CONTINUE, PROMOTE or ROLLBACK. With `settings` to apply it is
        pending until `decision_done`; without, or when `advisory`, it is finished at once.
        `experiment_id` must be recorded already.
        """
        return self._db.write(
            decisions_store.write_decision,
            {
                "target": target,
                "action": action,
                "reason": reason,
                "decided_at": at,
                "generation": generation,
                "experiment_id": experiment_id,
            },
            settings,
            advisory,
        )

    def decision_done(
        self,
        decision_id: int,
        outcome: DecisionOutcome | str,
        at: float,
        *,
        note: str = "",
        generation: int | None = None,
    ) -> None:
        """What became of it. UNKNOWN stays unfinished and may be settled later; others are final.

        `generation` is the one in force afterwards. Raises HistoryError for an unknown id and
        for a decision that was settled otherwise.
        """
        self._db.write(
            decisions_store.finish_decision,
            decision_id,
            DecisionOutcome(outcome),
            at,
            note,
            generation,
        )

    def unfinished_decisions(self, target: str) -> list[DecisionRecord]:
        """Those pending or of unknown outcome, oldest first."""
        return self._db.read(decisions_store.read_unfinished, target)

    def decisions(
        self, target: str, *, before: int | None = None, limit: int = 50
    ) -> list[DecisionRecord]:
        """Newest first; `before` is the id to go on from."""
        return self._db.read(decisions_store.read_decisions, target, before, limit)

    # ---- series, forecasts, anomalies
    def append_samples(self, target: str, samples: Iterable[tuple[str, float, float]]) -> None:
        """Rows of (series, start of the bucket, value); the same bucket again overwrites it."""
        self._db.write(samples_store.write_samples, target, samples)

    def samples(
        self, target: str, series: str, *, since: float, until: float | None = None
    ) -> list[Sample]:
        """The buckets in [since, until), oldest first."""
        return self._db.read(samples_store.read_samples, target, series, since, until)

    def series(self, target: str) -> list[str]:
        """The names of all series of `target`."""
        return self._db.read(samples_store.read_series, target)

    def record_forecast(self, target: str, forecast: Forecast) -> None:
        self._db.write(samples_store.write_forecast, target, forecast)

    def latest_forecast(self, target: str, series: str) -> Forecast | None:
        return self._db.read(samples_store.read_latest_forecast, target, series)

    def record_anomalies(self, target: str, scores: Iterable[AnomalyScore]) -> None:
        self._db.write(samples_store.write_anomalies, target, scores)

    def anomalies(self, target: str, *, since: float, limit: int = 200) -> list[AnomalyScore]:
        """Newest first."""
        return self._db.read(samples_store.read_anomalies, target, since, limit)

    # ---- alerts and their delivery
    def record_alert(self, alert: Alert, at: float, messages: Sequence[OutboxMessage] = ()) -> None:
        """The alert and what is to be delivered about it, together or not at all."""
        with self._db.writing() as connection:
            alerts_store.write_alert(connection, alert, at)
            for message in messages:
                outbox_store.enqueue(connection, message, at)

    def firing_alerts(self, target: str, told_to: str | None = None) -> list[Alert]:
        """All, or those of which the receiver `told_to` has been, or is to be, told."""
        return self._db.read(alerts_store.read_firing, target, told_to)

    def alerts(self, target: str | None = None, *, since: float, limit: int = 200) -> list[Alert]:
        """Those that started, or still fired, at or after `since`; newest first."""
        return self._db.read(alerts_store.read_alerts, target, since, limit)

    def enqueue(self, message: OutboxMessage, at: float) -> bool:
        """False where the same message was already enqueued (delivered or not)."""
        return self._db.write(outbox_store.enqueue, message, at)

    def due(self, now: float, limit: int = 50, receiver: str | None = None) -> list[Delivery]:
        """The longest waiting first; of one `receiver` by id, and of each alert only its first."""
        return self._db.read(outbox_store.read_due, now, limit, receiver)

    def delivered(self, delivery_id: int, at: float) -> None:
        self._db.write(outbox_store.mark_delivered, delivery_id, at)

    def failed(self, delivery_id: int, error: str, next_at: float | None) -> None:
        """An attempt failed; the next is at `next_at` (None: given up, never due again)."""
        self._db.write(outbox_store.mark_failed, delivery_id, error, next_at)

    # ---- operation
    def ask(
        self,
        target: str,
        what: Ask | str,
        who: str,
        at: float,
        note: str = "",
        payload: Mapping[str, Any] | None = None,
    ) -> int:
        """The id of a wish; an EXPERIMENT's `payload` is {"changes": {…}, "plan": {…}}."""
        return self._db.write(operations_store.write_ask, target, Ask(what), who, at, note, payload)

    def take_controls(self, target: str, now: float) -> list[Control]:
        """What was asked since the last call, oldest first; declared tests are not among it."""
        return self._db.write(operations_store.take_controls, target, now)

    def next_declared(self, target: str) -> Control | None:
        """The oldest declared test that waits."""
        return self._db.read(operations_store.read_next_declared, target)

    def take_control(
        self, control_id: int, at: float, *, result: str = "", experiment_id: str | None = None
    ) -> None:
        """A request waits no longer: it became `experiment_id`, or `result` says why it did not.

        Raises HistoryError when it was taken or withdrawn meanwhile: nothing may follow from it.
        """
        self._db.write(operations_store.take_control, control_id, at, result, experiment_id)

    def control(self, control_id: int) -> Control | None:
        """One request, and what became of it."""
        return self._db.read(operations_store.read_control, control_id)

    def declared(
        self, target: str | None = None, *, before: int | None = None, limit: int = 20
    ) -> list[Control]:
        """Tests that people declared, newest first; `before` is the id to go on from."""
        return self._db.read(operations_store.read_declared, target, before, limit)

    def asked_mode(self, target: str) -> Mode:
        """The mode that was asked for last, in which a daemon starts; ACTIVE when none was."""
        return self._db.read(operations_store.read_asked_mode, target)

    def asked_modes(self, target: str, limit: int = 200) -> list[Control]:
        """What asked for a mode (pause, resume, advisory), newest first."""
        return self._db.read(operations_store.read_asked_modes, target, limit)

    def heartbeat(
        self, daemon_id: str, target: str, *, at: float, sentence: str, mode: Mode | str
    ) -> None:
        self._db.write(
            operations_store.write_heartbeat, daemon_id, target, at, sentence, Mode(mode)
        )

    def status(self, target: str) -> TargetStatus:
        return self._db.read(queries.target_status, target)

    def targets(self) -> list[str]:
        return self._db.read(queries.target_names)

    def prune(self, older_than: float) -> dict[str, int]:
        """Rows deleted by table.

        Experiments, settings, incumbents, decisions with something to apply and what people asked
        stay for good; firing alerts, undelivered messages and the latest forecasts at any age.
        """
        return pruning.prune(self._db, older_than)
