"""The page's tables: the plan, the arms, the guardrails, the pairs, the slots."""

from __future__ import annotations

import math
from collections.abc import Iterator

from autotuner.abtest.exclusion import MATE
from autotuner.abtest.wording import percent
from autotuner.domain.experiment import Arm, Experiment, Pair, Plan, Slot
from autotuner.domain.measures import MEASURES, Measure, measure
from autotuner.report.facts import GuardrailFact, guardrail_facts, mean_value, slot_end, toll
from autotuner.report.markup import Column, Content, Html, table
from autotuner.report.numbers import (
    count_text,
    gain_text,
    length_text,
    level_text,
    margin_text,
    share_text,
    size_text,
    value_text,
)

DASH = "–"


def arms_table(experiment: Experiment) -> Html:
    """Both arms side by side: settings, what was served, and every measure that is known."""
    columns = (Column(""), Column("control", number=True), Column("treatment", number=True))
    return table(
        "The arms side by side (means of the slots that were judged)",
        columns,
        [*_settings_rows(experiment), *_toll_rows(experiment), *_measure_rows(experiment)],
        "",
    )


def plan_table(experiment: Experiment) -> Html:
    plan = experiment.plan
    limits = plan.limits
    rows = [
        ("design", plan.design.value),
        ("primary measure", measure(plan.outcome).words),
        ("confidence needed", level_text(plan.alpha)),
        ("counted in a slot", length_text(plan.slot_s)),
        ("washout", f"{plan.washout_min_s:g} to {plan.washout_max_s:g} s"),
        ("cooldown", f"{plan.cooldown_s:g} s"),
        ("budget", f"{count_text(plan.max_pairs, 'pair')}, {length_text(plan.budget_s)} at most"),
        ("requests needed in a slot", str(plan.min_requests_per_slot)),
        ("noise expected of a pair", size_text(measure(plan.outcome), plan.prior_sd)),
        ("covariates taken out", ", ".join(plan.covariates) or "none"),
        ("hard limit on errors", f"{100 * limits.max_error_share:g}% of the requests"),
        ("hard limit on tails", f"{limits.tail_factor:g} times the SLO or the control"),
        ("hard limit on memory", f"{limits.max_out_of_memory} out-of-memory events"),
        ("hard limit on heat", _heat(limits.max_temperature_c)),
        ("seed of the coin", str(experiment.seed)),
    ]
    return table(
        "The plan, fixed before the first slot", (Column("rule"), Column("value")), rows, ""
    )


def guardrails_table(experiment: Experiment) -> Html:
    columns = (
        Column("guardrail"), Column("stands"), Column("effect", number=True),
        Column("at least", number=True), Column("at most", number=True),
        Column("margin", number=True), Column("confidence that it is kept", number=True),
        Column("pairs", number=True),
    )  # fmt: skip
    rows = [_guardrail_row(fact) for fact in guardrail_facts(experiment)]
    return table("Where each guardrail stands", columns, rows, "The plan has no guardrail.")


def pairs_table(experiment: Experiment) -> Html:
    covariates = bool(experiment.plan.covariates)
    numbers = ["control", "treatment", "difference", *(["adjusted"] if covariates else [])]
    numbers += ["mean so far", "at least", "at most", "confidence"]
    columns = (Column("pair"), *(Column(name, number=True) for name in numbers))
    rows = [_pair_row(experiment, n, covariates) for n in range(len(experiment.pairs))]
    return table("Pairs that count, in order", columns, rows, "No pair has been counted.")


def slots_table(experiment: Experiment) -> Html:
    split = experiment.plan.design.lanes > 1
    outcome = measure(experiment.plan.outcome)
    columns = (
        Column("slot"), *((Column("lane", number=True),) if split else ()), Column("pair"),
        Column("arm"), Column("began", number=True), Column("washout", number=True),
        Column("ran", number=True), Column("requests", number=True),
        Column("suffered", number=True), Column("failed", number=True),
        *((Column(outcome.words, number=True),) if outcome.name != "attainment" else ()),
        Column("attainment", number=True), Column("note"),
    )  # fmt: skip
    rows = [_slot_row(experiment, slot, outcome, split) for slot in experiment.slots]
    return table(
        "Slots in order of time (minutes since the first one)",
        columns,
        rows,
        "No slot has begun.",
    )


def _settings_rows(experiment: Experiment) -> Iterator[tuple[Content, ...]]:
    control, treatment = experiment.control, experiment.treatment
    for name in sorted({*control, *treatment}):
        yield name, str(control.get(name, DASH)), str(treatment.get(name, DASH))


def _toll_rows(experiment: Experiment) -> Iterator[tuple[Content, ...]]:
    both = [toll(experiment, arm) for arm in (Arm.CONTROL, Arm.TREATMENT)]
    yield "slots judged", *(str(paid.slots) for paid in both)
    yield "requests", *(str(paid.requests) for paid in both)
    suffered = (f"{p.suffered} ({share_text(p.suffered, p.requests)})" for p in both)
    yield "suffered: missed a target or failed", *suffered
    yield "failed", *(str(paid.failed) for paid in both)
    yield "time counted", *(length_text(paid.counted_s) for paid in both)


def _measure_rows(experiment: Experiment) -> Iterator[tuple[Content, ...]]:
    for one in MEASURES.values():
        values = [
            mean_value(
                one,
                (s.outcome for s in experiment.slots if s.arm is arm and s.outcome),
                experiment.plan.upkeep(arm),
            )
            for arm in (Arm.CONTROL, Arm.TREATMENT)
        ]
        if any(math.isfinite(value) for value in values):
            yield one.words, *(value_text(one, value) for value in values)


def _guardrail_row(fact: GuardrailFact) -> tuple[Content, ...]:
    look, one = fact.look, fact.measure
    figures = (math.nan,) * 3 if look is None else (look.effect, look.low, look.high)
    return (
        one.words,
        fact.standing.value,
        *(_effect(one, figure) for figure in figures),
        margin_text(one, fact.guardrail.margin),
        percent(fact.confidence),
        "0" if look is None else str(look.pairs),
    )


def _pair_row(experiment: Experiment, number: int, covariates: bool) -> tuple[Content, ...]:
    pair, plan = experiment.pairs[number], experiment.plan
    one = measure(plan.outcome)
    look = next((k for k in experiment.looks if k.pairs == number + 1), None)
    after: tuple[str, ...] = (DASH,) * 4
    if look is not None:
        bounds = (_effect(one, value) for value in (look.effect, look.low, look.high))
        after = (*bounds, percent(look.confidence))
    return (
        str(pair.index),
        *_sides(pair, one, plan),
        _effect(one, pair.difference),
        *((_effect(one, pair.adjusted),) if covariates else ()),
        *after,
    )


def _sides(pair: Pair, one: Measure, plan: Plan) -> tuple[str, str]:
    control = one.value(pair.control, plan.upkeep(Arm.CONTROL))
    treatment = one.value(pair.treatment, plan.upkeep(Arm.TREATMENT))
    return value_text(one, control), value_text(one, treatment)


def _slot_row(
    experiment: Experiment, slot: Slot, outcome: Measure, split: bool
) -> tuple[Content, ...]:
    first, end, seen = experiment.slots[0].started_at, slot_end(slot, experiment), slot.outcome
    washed = end if slot.counted_from is None else slot.counted_from
    lane = (str(slot.lane),) if split else ()
    times = (
        f"{(slot.started_at - first) / 60:.1f}",
        length_text(washed - slot.started_at),
        length_text(end - slot.started_at),
    )
    served: tuple[str, ...] = (DASH,) * (4 if outcome.name == "attainment" else 5)
    if seen is not None:
        value = outcome.value(seen, experiment.plan.upkeep(slot.arm))
        main = () if outcome.name == "attainment" else (value_text(outcome, value),)
        served = (
            str(seen.requests), str(seen.requests - seen.good), str(seen.failed), *main,
            value_text(MEASURES["attainment"], seen.attainment),
        )  # fmt: skip
    return (
        str(slot.index), *lane, str(slot.pair), slot.arm.value, *times, *served, _note(slot),
    )  # fmt: skip


def _note(slot: Slot) -> str:
    if slot.excluded is not None:
        why = slot.excluded
        return why if why.startswith(MATE) else f"does not count: {why}"
    if slot.ended_at is None:
        return "open"
    return "" if slot.outcome is not None else "waits for its last requests"


def _effect(one: Measure, value: float) -> str:
    """A figure of an effect; a dash where nothing is known, or beyond what can be."""
    floor, ceiling = one.span
    known = math.isfinite(value) and (floor < value < ceiling or math.isinf(ceiling))
    return gain_text(one, value) if known else DASH


def _heat(most_c: float) -> str:
    return f"{most_c:g} °C" if math.isfinite(most_c) else "none"
