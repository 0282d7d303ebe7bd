"""Experiments with their slots, pairs and looks: written row by changed row, read back whole."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, Select, case, func, or_, select

from autotuner.domain.errors import HistoryError
from autotuner.domain.experiment import Conclusion, Experiment, Phase, Slot, Verdict
from autotuner.domain.explanation import Explanation
from autotuner.domain.knobs import Settings
from autotuner.domain.ports import PastTrial
from autotuner.history.columns import nan_if_null
from autotuner.history.reasons import explanation_of, explanation_row
from autotuner.history.rows import (
    experiment_of,
    experiment_row,
    look_of,
    look_row,
    pair_of,
    pair_row,
    plan_of,
    slot_of,
    slot_row,
)
from autotuner.history.settings_store import read_settings, write_settings
from autotuner.history.sql import Row, fetch, fetch_first, sync_rows, upsert
from autotuner.history.tables import experiments, looks, pairs, slots


def write_experiment(
    connection: Connection,
    experiment: Experiment,
    at: float | None,
    predicted_effect: float | None,
    explanation: Explanation | None = None,
) -> None:
    query = select(experiments).where(experiments.c.id == experiment.id).with_for_update()
    stored = fetch_first(connection, query)
    _refuse_rewriting(stored, experiment)
    row = experiment_row(
        experiment,
        ended_at=_ended_at(stored, experiment, at),
        predicted_effect=_kept(stored, "predicted_effect", predicted_effect),
        explanation=_kept(
            stored, "explanation", None if explanation is None else explanation_row(explanation)
        ),
    )
    if stored is None:
        write_settings(
            connection, [experiment.control, experiment.treatment], experiment.started_at
        )
    if stored is None or dict(stored) != row:
        upsert(connection, experiments, [row])
    _write_parts(connection, experiment)


def _write_parts(connection: Connection, experiment: Experiment) -> None:
    key = experiment.id
    sync_rows(
        connection,
        slots,
        slots.c.experiment_id,
        key,
        [slot_row(key, slot) for slot in experiment.slots],
    )
    sync_rows(
        connection,
        pairs,
        pairs.c.experiment_id,
        key,
        [pair_row(key, pair) for pair in experiment.pairs],
    )
    sync_rows(
        connection,
        looks,
        looks.c.experiment_id,
        key,
        [look_row(key, index, look) for index, look in enumerate(experiment.looks)],
    )


def _refuse_rewriting(stored: Row | None, experiment: Experiment) -> None:
    """A daemon that was cut off must not reopen what its successor has closed."""
    if stored is None or stored["verdict"] is None:
        return
    told = experiment.conclusion.verdict if experiment.conclusion else None
    if told != stored["verdict"]:
        raise HistoryError(
            f"experiment {experiment.id} is closed as {stored['verdict']} "
            f"({stored['reason']}): it can't become {told or experiment.phase}"
        )


def _ended_at(stored: Row | None, experiment: Experiment, at: float | None) -> float | None:
    if experiment.running:
        return None
    last = max((slot.ended_at or slot.started_at for slot in experiment.slots), default=None)
    told = at if at is not None else last if last is not None else experiment.started_at
    kept = stored["ended_at"] if stored is not None else None
    return told if kept is None else float(kept)


def _kept(stored: Row | None, name: str, told: object) -> Any:
    return told if told is not None or stored is None else stored[name]


def read_experiment(connection: Connection, experiment_id: str) -> Experiment | None:
    found = _load(connection, select(experiments).where(experiments.c.id == experiment_id))
    return found[0] if found else None


def read_explanation(connection: Connection, experiment_id: str) -> Explanation | None:
    query = select(experiments.c.explanation).where(experiments.c.id == experiment_id)
    stored = connection.execute(query).scalar()
    return None if stored is None else explanation_of(stored)


def read_ended_at(connection: Connection, experiment_id: str) -> float | None:
    query = select(experiments.c.ended_at).where(experiments.c.id == experiment_id)
    ended_at: float | None = connection.execute(query).scalar()
    return ended_at


def _open(target: str) -> Select[Any]:
    return (
        select(experiments)
        .where(experiments.c.target == target, experiments.c.phase != Phase.CLOSED)
        .order_by(experiments.c.started_at, experiments.c.id)
    )


def read_open(connection: Connection, target: str) -> list[Experiment]:
    return _load(connection, _open(target))


def close_orphans(connection: Connection, target: str, now: float, reason: str) -> list[Experiment]:
    closed = [
        _aborted(orphan, reason) for orphan in _load(connection, _open(target).with_for_update())
    ]
    for experiment in closed:
        write_experiment(connection, experiment, now, None)
    return closed


def _aborted(experiment: Experiment, reason: str) -> Experiment:
    nothing = float("nan")
    look = experiment.looks[-1] if experiment.looks else None
    conclusion = Conclusion(
        verdict=Verdict.ABORTED,
        reason=reason,
        pairs=look.pairs if look else 0,
        effect=look.effect if look else nothing,
        low=look.low if look else nothing,
        high=look.high if look else nothing,
        confidence=look.confidence if look else nothing,
    )
    unfinished = tuple(_excluded(slot, reason) for slot in experiment.slots)
    return replace(experiment, slots=unfinished).closed(conclusion)


def _excluded(slot: Slot, reason: str) -> Slot:
    """A slot that was cut short says so; one that was counted stays as it is."""
    return slot if slot.outcome or slot.excluded else replace(slot, excluded=reason)


def _load(connection: Connection, query: Select[Any]) -> list[Experiment]:
    rows = fetch(connection, query)
    digests = {row[name] for row in rows for name in ("control_digest", "treatment_digest")}
    known = read_settings(connection, digests)
    return [_with_parts(connection, row, known) for row in rows]


def _with_parts(connection: Connection, row: Row, known: dict[str, Settings]) -> Experiment:
    def parts(query: Select[Any]) -> list[dict[str, Any]]:
        return fetch(connection, query)

    key = row["id"]
    in_slots = select(slots).where(slots.c.experiment_id == key).order_by(slots.c.slot_index)
    in_pairs = select(pairs).where(pairs.c.experiment_id == key).order_by(pairs.c.pair_index)
    in_looks = select(looks).where(looks.c.experiment_id == key).order_by(looks.c.look_index)
    return experiment_of(
        row,
        known,
        tuple(slot_of(part) for part in parts(in_slots)),
        tuple(pair_of(part) for part in parts(in_pairs)),
        tuple(look_of(part) for part in parts(in_looks)),
    )


def read_trials(connection: Connection, target: str, limit: int) -> list[PastTrial]:
    table = experiments.c
    query = (
        select(
            table.id,
            table.control_digest,
            table.treatment_digest,
            table.effect,
            table.low,
            table.high,
            table.verdict,
            table.plan,
        )
        .where(
            table.target == target,
            table.verdict.is_not(None),
            table.verdict != Verdict.ABORTED,
            table.control_digest != table.treatment_digest,
        )
        .order_by(table.ended_at.desc(), table.started_at.desc(), table.id.desc())
        .limit(limit)
    )
    rows = list(connection.execute(query))
    known = read_settings(
        connection,
        {digest for row in rows for digest in (row.control_digest, row.treatment_digest)},
    )
    return [
        PastTrial(
            known[row.control_digest],
            known[row.treatment_digest],
            nan_if_null(row.effect),
            row.verdict,
            low=nan_if_null(row.low),
            high=nan_if_null(row.high),
            outcome=plan_of(row.plan).outcome,
            id=row.id,
        )
        for row in reversed(rows)
    ]


def count_tests(connection: Connection, target: str) -> tuple[int, int]:
    table = experiments.c
    accepted = case((table.verdict == Verdict.ACCEPTED, 1), else_=0)
    query = select(func.count(), func.coalesce(func.sum(accepted), 0)).where(
        table.target == target,
        table.verdict.is_not(None),
        table.control_digest != table.treatment_digest,
        # Plans stored before there were confirm runs lack the key.
        func.coalesce(table.plan["confirms"].as_string(), "") == "",
        or_(table.verdict != Verdict.ABORTED, table.pairs > 0),
    )
    tests, kept = connection.execute(query).one()
    return int(tests), int(kept)
