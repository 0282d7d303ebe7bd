"""A report as data: everything that the page and the figure show, ready for JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any

from autotuner.domain.experiment import Arm, Experiment, Pair, Plan, Slot, SlotOutcome
from autotuner.domain.explanation import Explanation
from autotuner.domain.measures import measure
from autotuner.report.facts import (
    GuardrailFact,
    Toll,
    duration_s,
    exclusions,
    extra_suffering,
    guardrail_facts,
    harm_confidences,
    is_aa,
    power,
    toll,
)
from autotuner.report.reasons import reasons
from autotuner.report.words import words

FORMAT = 1


def report_data(
    experiment: Experiment, ended_at: float | None, why: Explanation | None = None
) -> dict[str, Any]:
    """The report as plain values; what is not known, or has no end, is null.

    `ended_at`: on the clock of `experiment.started_at`; None while the test runs. `why`: the
    proposal's reason, where it had one.

    Keys: `format` (1); `id`, `target`, `phase`, `running`, `aa`, `confirms`, `proposer`,
    `rationale`; `started_at`, `ended_at` (s since the epoch), `duration_s`; `control`, `treatment`
    (settings), `changed` ({knob: [control, treatment]}); `plan`; `outcome` (the primary measure);
    `verdict` (null while the test runs: verdict, reason, pairs, effect, low, high, confidence);
    `words` (headline, tried, happened, sure, guarded, cost, reason); `cost` (per arm: requests,
    good, failed, suffered; `extra_suffering`); `slots`, `pairs`, `looks` (one per counted pair, in
    order), `guardrails` (where each stands), `excluded`, `power`; `explanation` (null without
    `why`: seen, effect, low, high, incumbent, candidate, nearest, method, considered, model_note,
    and the same as `words`). Effects, bounds, differences and margins as shifts are in the
    outcome's or the guardrail's units, log units where `link` is log_ratio; positive is better.
    Shares and confidences are 0..1; times of slots are on the target's clock.
    """
    ended = experiment.conclusion
    data = {
        "format": FORMAT,
        "id": experiment.id,
        "target": experiment.target,
        "phase": experiment.phase,
        "running": experiment.running,
        "aa": is_aa(experiment),
        "confirms": experiment.plan.confirms or None,
        "proposer": experiment.proposer,
        "rationale": experiment.rationale,
        "started_at": experiment.started_at,
        "ended_at": ended_at,
        "duration_s": duration_s(experiment, ended_at),
        "control": dict(experiment.control),
        "treatment": dict(experiment.treatment),
        "changed": _changed(experiment),
        "plan": _plan(experiment.plan),
        "outcome": _measure(experiment.plan.outcome),
        "verdict": None if ended is None else asdict(ended),
        "words": asdict(words(experiment, ended_at)),
        "cost": _cost(experiment),
        "slots": [_slot(slot, experiment.plan) for slot in experiment.slots],
        "pairs": [_pair(pair, experiment.plan) for pair in experiment.pairs],
        "looks": _looks(experiment),
        "guardrails": [_guardrail(fact) for fact in guardrail_facts(experiment)],
        "excluded": [asdict(one) for one in exclusions(experiment)],
        "power": _power(experiment),
        "explanation": None if why is None else _explanation(experiment, why),
    }
    return {name: _plain(value) for name, value in data.items()}


def _changed(experiment: Experiment) -> dict[str, list[Any]]:
    changed = experiment.treatment.changed_from(experiment.control)
    return {name: [experiment.control.get(name), new] for name, new in changed.items()}


def _explanation(experiment: Experiment, why: Explanation) -> dict[str, Any]:
    """Effects in the units of the goal's objective, as the proposer gave them."""
    named = {name: dict(getattr(why, name)) for name in ("seen", "incumbent", "candidate")}
    nearest = [{**vars(near), "changes": dict(near.changes)} for near in why.nearest]
    said = dict(reasons(experiment, why).paragraphs)
    return {**vars(why), **named, "nearest": nearest, "words": said}


def _plan(plan: Plan) -> dict[str, Any]:
    return {**asdict(plan), "budget_s": plan.budget_s}


def _measure(name: str) -> dict[str, Any]:
    found = measure(name)
    return {
        "measure": found.name,
        "words": found.words,
        "unit": found.unit,
        "link": found.link,
        "higher_is_better": found.higher_is_better,
    }


def _cost(experiment: Experiment) -> dict[str, Any]:
    per_arm = {arm.value: _toll(toll(experiment, arm)) for arm in Arm}
    return {**per_arm, "extra_suffering": extra_suffering(experiment)}


def _toll(paid: Toll) -> dict[str, Any]:
    return {
        **asdict(paid),
        "suffered": paid.suffered,
        "suffered_share": paid.suffered_share,
    }


def _outcome(outcome: SlotOutcome) -> dict[str, Any]:
    return {
        **{field.name: getattr(outcome, field.name) for field in fields(outcome)},
        "attainment": outcome.attainment,
        "goodput_rps": outcome.goodput_rps,
        "error_share": outcome.error_share,
    }


def _slot(slot: Slot, plan: Plan) -> dict[str, Any]:
    seen = slot.outcome
    value = math.nan if seen is None else measure(plan.outcome).value(seen, plan.upkeep(slot.arm))
    return {
        "index": slot.index,
        "arm": slot.arm,
        "lane": slot.lane,
        "period": slot.period,
        "pair": slot.pair,
        "generation": slot.generation,
        "started_at": slot.started_at,
        "counted_from": slot.counted_from,
        "ended_at": slot.ended_at,
        "excluded": slot.excluded,
        "value": value,
        "outcome": None if seen is None else _outcome(seen),
    }


def _pair(pair: Pair, plan: Plan) -> dict[str, Any]:
    value = measure(plan.outcome).value
    return {
        "index": pair.index,
        "difference": pair.difference,
        "adjustment": pair.adjustment,
        "adjusted": pair.adjusted,
        "control": value(pair.control, plan.upkeep(Arm.CONTROL)),
        "treatment": value(pair.treatment, plan.upkeep(Arm.TREATMENT)),
    }


def _looks(experiment: Experiment) -> list[dict[str, Any]]:
    harms = harm_confidences(experiment.looks)
    return [
        {**asdict(look), "harm_confidence": harm}
        for look, harm in zip(experiment.looks, harms, strict=True)
    ]


def _guardrail(fact: GuardrailFact) -> dict[str, Any]:
    look = fact.look
    return {
        **_measure(fact.measure.name),
        "margin": fact.guardrail.margin,
        "shift": fact.shift,
        "standing": fact.standing,
        "confidence": fact.confidence,
        "pairs": 0 if look is None else look.pairs,
        "effect": math.nan if look is None else look.effect,
        "low": math.nan if look is None else look.low,
        "high": math.nan if look is None else look.high,
    }


def _power(experiment: Experiment) -> dict[str, Any]:
    found = power(experiment)
    return {
        "sd": found.sd,
        "sd_seen": found.seen,
        "budget_pairs": found.budget_pairs,
        "smallest_effect": found.smallest_effect,
        "points": [{"effect": effect, "pairs": pairs} for effect, pairs in found.points],
    }


def _plain(value: Any) -> Any:
    """As JSON has it: enums as their text, tuples as lists, numbers that are none as null."""
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, str):
        return str(value)
    if isinstance(value, Mapping):
        return {str(name): _plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return value
