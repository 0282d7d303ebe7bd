"""How the history looks in a terminal and as JSON."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from rich.console import Console
from rich.table import Table

from autotuner.domain.error_budget import ErrorBudget
from autotuner.domain.experiment import Experiment, SlotOutcome, Upkeep
from autotuner.domain.explanation import Explanation
from autotuner.domain.knobs import Settings
from autotuner.domain.measures import measure
from autotuner.history.records import ExperimentSummary, TargetStatus
from autotuner.report.facts import guardrail_facts
from autotuner.report.numbers import gain_text, margin_text, value_text
from autotuner.report.reasons import SAVINGS, reasons
from autotuner.report.words import words


def when(at: float | None) -> str:
    """A time in UTC, to the second."""
    return "" if at is None else datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S")


def told(outcome: str, difference: float) -> str:
    """A difference as people read it, plus is better; nothing where nothing was measured."""
    return gain_text(measure(outcome), difference) if math.isfinite(difference) else ""


def knobs(settings: Settings) -> str:
    return ", ".join(f"{name}={value}" for name, value in settings.items())


def changes(summary: ExperimentSummary) -> str:
    changed = (f"{name} {old}→{new}" for name, (old, new) in summary.changed.items())
    return "nothing (A/A)" if summary.is_aa else ", ".join(changed)


def status_as_dict(
    status: TargetStatus, silenced: int = 0, budget: ErrorBudget | None = None
) -> dict[str, Any]:
    """`silenced`: how many of the alerts that fire are not told. `budget`: where one is kept."""
    incumbent, beat, running = status.incumbent, status.heartbeat, status.running
    return {
        "target": status.target,
        "settings": dict(incumbent.settings) if incumbent else None,
        "since": incumbent.since if incumbent else None,
        "why": incumbent.why if incumbent else None,
        "mode": beat.mode.value if beat else None,
        "last_cycle_at": beat.at if beat else None,
        "last_word": beat.sentence if beat else None,
        "running": summary_as_dict(running) if running else None,
        "verdicts": dict(status.verdicts),
        "firing_alerts": status.firing_alerts,
        "silenced_alerts": silenced,
        "undelivered_alerts": status.undelivered,
        "availability": budget.figures() if budget else None,
    }


def summary_as_dict(summary: ExperimentSummary) -> dict[str, Any]:
    figures = {name: getattr(summary, name) for name in ("effect", "low", "high", "confidence")}
    return {
        "id": summary.id,
        "target": summary.target,
        "phase": summary.phase.value,
        "started_at": summary.started_at,
        "ended_at": summary.ended_at,
        "verdict": summary.verdict.value if summary.verdict else None,
        "reason": summary.reason,
        "design": summary.design.value,
        "outcome": summary.outcome,
        "pairs": summary.pairs,
        **{name: value if math.isfinite(value) else None for name, value in figures.items()},
        "predicted_effect": summary.predicted_effect,
        "proposer": summary.proposer,
        "rationale": summary.rationale,
        "control": dict(summary.control),
        "treatment": dict(summary.treatment),
    }


def status_table(
    status: TargetStatus, now: float, silenced: int = 0, budget: ErrorBudget | None = None
) -> None:
    table = Table(title=f"target {status.target}", show_header=False, title_justify="left")
    incumbent, beat, running = status.incumbent, status.heartbeat, status.running
    if incumbent is None:
        table.add_row("live", "nothing known yet: has the daemon run?")
    else:
        table.add_row("live", knobs(incumbent.settings))
        table.add_row("since", f"{when(incumbent.since)} UTC")
        table.add_row("why", incumbent.why)
    if running:
        confidence = (
            f"{running.confidence:.1%}" if math.isfinite(running.confidence) else "none yet"
        )
        table.add_row("testing", f"{changes(running)} ({running.pairs} pairs, {confidence})")
    if beat:
        table.add_row("mode", beat.mode.value)
        table.add_row("last cycle", f"{now - beat.at:.0f} s ago: {beat.sentence}")
    verdicts = ", ".join(f"{count} {name}" for name, count in status.verdicts.items())
    table.add_row("verdicts", verdicts or "none yet")
    quiet = f" ({silenced} silenced)" if silenced else ""
    firing = f"{status.firing_alerts} firing{quiet}"
    table.add_row("alerts", f"{firing}, {status.undelivered} undelivered")
    if budget is not None:
        table.add_row("error budget", budget.sentence())
    Console().print(table)


def experiments_table(summaries: list[ExperimentSummary]) -> None:
    """One row a test; the change and the verdict wrap, the id never does: people copy it."""
    table = Table(title="experiments (effect: plus is better)", title_justify="left")
    table.add_column("id", no_wrap=True)
    for column in ("change", "pairs", "effect", "low … high", "confidence", "verdict"):
        table.add_column(column, overflow="fold")
    for one in summaries:
        low, high = told(one.outcome, one.low), told(one.outcome, one.high)
        bounds = f"{low} … {high}" if low or high else ""
        confidence = f"{one.confidence:.1%}" if math.isfinite(one.confidence) else ""
        verdict = one.verdict.value if one.verdict else one.phase.value
        started = when(one.started_at)
        table.add_row(
            f"{one.id}\n{started}", changes(one), str(one.pairs), _effect(one), bounds,
            confidence, verdict,
        )  # fmt: skip
    Console().print(table)


def _effect(summary: ExperimentSummary) -> str:
    """What was measured, and what the proposer expected, where it did: narrow, for one column.

    It expects points of attainment, or a saving where the test is about one.
    """
    seen, hoped = told(summary.outcome, summary.effect), summary.predicted_effect
    if hoped is None:
        return seen
    by = summary.outcome if summary.outcome in SAVINGS else "attainment"
    return f"{seen}\nexpected {told(by, hoped)}".lstrip()


def experiment_report(
    experiment: Experiment, ended_at: float | None, why: Explanation | None = None
) -> None:
    """One experiment: the verdict in plain words, why it was tried, its slots and guardrails."""
    console = Console()
    said = words(experiment, ended_at)
    console.print(f"[bold]{experiment.id}[/bold]: {said.headline}", highlight=False)
    for _title, paragraph in said.titled:
        console.print(paragraph, highlight=False, markup=False)
    console.print(f"control:   {knobs(experiment.control)}", highlight=False, markup=False)
    console.print(f"treatment: {knobs(experiment.treatment)}", highlight=False, markup=False)
    for title, text in () if why is None else reasons(experiment, why).paragraphs:
        console.print(f"{title}: {text}", highlight=False, markup=False)
    console.print(_slots_table(experiment))
    if experiment.plan.guardrails:
        console.print(_guardrails_table(experiment))


def _slots_table(experiment: Experiment) -> Table:
    plan = experiment.plan
    outcome = measure(plan.outcome)
    figures: dict[str, Callable[[SlotOutcome, Upkeep], str]] = {
        "requests": lambda seen, _: str(seen.requests),
        outcome.words: lambda seen, takes: value_text(outcome, outcome.value(seen, takes)),
        "attainment": lambda seen, _: f"{100 * seen.attainment:.1f}%",
        "goodput": lambda seen, _: f"{seen.goodput_rps:.2f}/s",
        "TTFT P95": lambda seen, _: f"{seen.ttft_p95_s:.2f} s",
        "gap P95": lambda seen, _: f"{seen.gap_p95_s * 1000:.0f} ms",
    }
    table = Table()
    for column in ("slot", "lane", "arm", *figures, "note"):
        table.add_column(column, overflow="fold")
    for slot in experiment.slots:
        seen = slot.outcome
        takes = plan.upkeep(slot.arm)
        shown = ("" if seen is None else tell(seen, takes) for tell in figures.values())
        note = slot.excluded or ""
        table.add_row(str(slot.index), str(slot.lane), slot.arm.value, *shown, note)
    return table


def _guardrails_table(experiment: Experiment) -> Table:
    table = Table(title="guardrails (plus is better)", title_justify="left")
    for column in ("measure", "must not lose", "stands", "pairs", "effect", "low … high"):
        table.add_column(column, overflow="fold")
    for fact in guardrail_facts(experiment):
        name, look = fact.measure.name, fact.look
        seen = ["0", "", ""] if look is None else [
            str(look.pairs), told(name, look.effect),
            f"{told(name, look.low)} … {told(name, look.high)}",
        ]  # fmt: skip
        margin = margin_text(fact.measure, fact.guardrail.margin)
        table.add_row(fact.measure.words, margin, fact.standing.value, *seen)
    return table
