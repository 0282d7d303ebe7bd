"""Experiments as rows and back: pure, no SQL.

A row has NULL where the value has NaN. JSON holds non-finite figures as the strings that `float`
reads. Keys that this version does not know are skipped, those that are missing get defaults.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from autotuner.domain.experiment import (
    Arm,
    Conclusion,
    Experiment,
    Guardrail,
    GuardrailLook,
    HardLimits,
    Look,
    Pair,
    Phase,
    Plan,
    Slot,
    SlotOutcome,
    Verdict,
)
from autotuner.domain.knobs import Settings
from autotuner.history.columns import jsonable, nan_if_null, null_if_nan

Row = Mapping[str, Any]

# By SlotOutcome's own annotations, so that a figure added there has a column or a test fails.
_COUNTS = tuple(item.name for item in fields(SlotOutcome) if item.type == "int")
_FIGURES = tuple(item.name for item in fields(SlotOutcome) if item.type == "float")
_DERIVED = ("attainment", "goodput_rps")
_LOOK_FIGURES = ("log_e_benefit", "log_e_harm", "confidence", "effect", "low", "high")


def experiment_row(
    experiment: Experiment,
    ended_at: float | None,
    predicted_effect: float | None,
    explanation: Row | None = None,
) -> dict[str, Any]:
    """The row of `experiments`; while it runs, its figures are the last look's."""
    done = experiment.conclusion
    seen = done or (experiment.looks[-1] if experiment.looks else None)
    return {
        "id": experiment.id,
        "target": experiment.target,
        "control_digest": experiment.control.digest,
        "treatment_digest": experiment.treatment.digest,
        "plan": jsonable(experiment.plan),
        "seed": experiment.seed,
        "proposer": experiment.proposer,
        "rationale": experiment.rationale,
        "predicted_effect": predicted_effect,
        "explanation": explanation,
        "phase": str(experiment.phase),
        "started_at": experiment.started_at,
        "ended_at": ended_at,
        "verdict": str(done.verdict) if done else None,
        "reason": done.reason if done else "",
        "pairs": seen.pairs if seen else 0,
        **{
            name: null_if_nan(getattr(seen, name)) if seen else None
            for name in ("effect", "low", "high", "confidence")
        },
    }


def slot_row(experiment_id: str, slot: Slot) -> dict[str, Any]:
    outcome = slot.outcome
    counts = {name: getattr(outcome, name) if outcome else None for name in _COUNTS}
    figures = {
        name: null_if_nan(getattr(outcome, name)) if outcome else None
        for name in _FIGURES + _DERIVED
    }
    return {
        "experiment_id": experiment_id,
        "slot_index": slot.index,
        "arm": str(slot.arm),
        "generation": slot.generation,
        "started_at": slot.started_at,
        "counted_from_at": slot.counted_from,
        "ended_at": slot.ended_at,
        "excluded": slot.excluded,
        "lane": slot.lane,
        "lanes": slot.lanes,
        **counts,
        **figures,
    }


def pair_row(experiment_id: str, pair: Pair) -> dict[str, Any]:
    return {
        "experiment_id": experiment_id,
        "pair_index": pair.index,
        "difference": null_if_nan(pair.difference),
        "control": jsonable(pair.control),
        "treatment": jsonable(pair.treatment),
        "adjustment": null_if_nan(pair.adjustment),
    }


def look_row(experiment_id: str, index: int, look: Look) -> dict[str, Any]:
    figures = {name: null_if_nan(getattr(look, name)) for name in _LOOK_FIGURES}
    return {
        "experiment_id": experiment_id,
        "look_index": index,
        "pairs": look.pairs,
        "guardrails": jsonable(look.guardrails),
        **figures,
    }


def experiment_of(
    row: Row,
    settings: Mapping[str, Settings],
    slots: tuple[Slot, ...],
    pairs: tuple[Pair, ...],
    looks: tuple[Look, ...],
) -> Experiment:
    return Experiment(
        id=row["id"],
        target=row["target"],
        control=settings[row["control_digest"]],
        treatment=settings[row["treatment_digest"]],
        plan=plan_of(row["plan"]),
        seed=row["seed"],
        started_at=row["started_at"],
        proposer=row["proposer"],
        rationale=row["rationale"],
        phase=Phase(row["phase"]),
        slots=slots,
        pairs=pairs,
        looks=looks,
        conclusion=_conclusion_of(row),
    )


def plan_of(stored: Row) -> Plan:
    """The plan as stored by any version."""
    return Plan(
        **{
            **_known(Plan, stored),
            "limits": HardLimits(**_known(HardLimits, stored.get("limits", {}))),
            "guardrails": tuple(map(_guardrail_of, stored.get("guardrails", ()))),
            "covariates": tuple(stored.get("covariates", ())),
        }
    )


def _guardrail_of(stored: Row) -> Guardrail:
    # Without `prior_sd` where it was stored by a version that had none.
    figures = {name: float(stored[name]) for name in ("margin", "prior_sd") if name in stored}
    return Guardrail(stored["measure"], **figures)


def slot_of(row: Row) -> Slot:
    return Slot(
        index=row["slot_index"],
        arm=Arm(row["arm"]),
        generation=row["generation"],
        started_at=row["started_at"],
        counted_from=row["counted_from_at"],
        ended_at=row["ended_at"],
        outcome=_outcome_of(row) if row["requests"] is not None else None,
        excluded=row["excluded"],
        lane=row["lane"],
        lanes=row["lanes"],
    )


def pair_of(row: Row) -> Pair:
    return Pair(
        index=row["pair_index"],
        difference=nan_if_null(row["difference"]),
        control=_outcome_of(row["control"]),
        treatment=_outcome_of(row["treatment"]),
        adjustment=nan_if_null(row["adjustment"]),
    )


def look_of(row: Row) -> Look:
    figures = {name: nan_if_null(row[name]) for name in _LOOK_FIGURES}
    guardrails = tuple(map(_guardrail_look_of, row["guardrails"]))
    return Look(pairs=row["pairs"], **figures, guardrails=guardrails)


def _guardrail_look_of(stored: Row) -> GuardrailLook:
    figures = ("log_e_kept", "log_e_broken", "effect", "low", "high")
    return GuardrailLook(
        measure=stored["measure"],
        pairs=int(stored["pairs"]),
        **{name: float(stored[name]) for name in figures},
    )


def _conclusion_of(row: Row) -> Conclusion | None:
    if row["verdict"] is None:
        return None
    return Conclusion(
        verdict=Verdict(row["verdict"]),
        reason=row["reason"],
        pairs=row["pairs"],
        effect=nan_if_null(row["effect"]),
        low=nan_if_null(row["low"]),
        high=nan_if_null(row["high"]),
        confidence=nan_if_null(row["confidence"]),
    )


def _outcome_of(stored: Row) -> SlotOutcome:
    """From a row, or from a pair's JSON; what an earlier version did not store is unmeasured."""
    figures: dict[str, Any] = {name: float(nan_if_null(stored.get(name))) for name in _FIGURES}
    counts: dict[str, Any] = {name: int(stored.get(name) or 0) for name in _COUNTS}
    return SlotOutcome(**counts, **figures)


def _known(kind: type[Plan] | type[HardLimits], stored: Row) -> dict[str, Any]:
    """The stored figures and words that `kind` has a field for, in its default's type."""
    default = kind()
    return {
        item.name: type(getattr(default, item.name))(stored[item.name])
        for item in fields(kind)
        if item.name in stored and not isinstance(stored[item.name], dict | list)
    }
