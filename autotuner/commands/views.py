"""How the history looks in a terminal and as JSON."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any

from rich.console import Console
from rich.table import Table

from autotuner.domain.experiment import Experiment
from autotuner.domain.knobs import Settings
from autotuner.history.records import ExperimentSummary, TargetStatus


def when(at: float | None) -> str:
    """A time in UTC, to the second."""
    return "" if at is None else datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S")


def points(value: float, *, signed: bool = True) -> str:
    """Attainment points as text; nothing where nothing was measured."""
    if not math.isfinite(value):
        return ""
    return f"{value * 100:+.1f}" if signed else f"{value * 100:.1f}"


def knobs(settings: Settings) -> str:
    return ", ".join(f"{name}={value}" for name, value in settings.items())


def changes(summary: ExperimentSummary) -> str:
    return ", ".join(f"{name} {old}→{new}" for name, (old, new) in summary.changed.items())


def status_as_dict(status: TargetStatus) -> dict[str, Any]:
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
        "undelivered_alerts": status.undelivered,
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
        "pairs": summary.pairs,
        **{name: value if math.isfinite(value) else None for name, value in figures.items()},
        "proposer": summary.proposer,
        "rationale": summary.rationale,
        "control": dict(summary.control),
        "treatment": dict(summary.treatment),
    }


def status_table(status: TargetStatus, now: float) -> None:
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
    table.add_row("alerts", f"{status.firing_alerts} firing, {status.undelivered} undelivered")
    Console().print(table)


def experiments_table(summaries: list[ExperimentSummary]) -> None:
    """One row a test; the change and the verdict wrap, the id never does: people copy it."""
    table = Table(title="experiments (effect in points of attainment)", title_justify="left")
    table.add_column("id", no_wrap=True)
    for column in ("change", "pairs", "effect", "low … high", "confidence", "verdict"):
        table.add_column(column, overflow="fold")
    for one in summaries:
        bounds = f"{points(one.low)} … {points(one.high)}" if math.isfinite(one.low) else ""
        confidence = f"{one.confidence:.1%}" if math.isfinite(one.confidence) else ""
        verdict = one.verdict.value if one.verdict else one.phase.value
        started = when(one.started_at)
        table.add_row(
            f"{one.id}\n{started}", changes(one), str(one.pairs), points(one.effect), bounds,
            confidence, verdict,
        )  # fmt: skip
    Console().print(table)


def experiment_report(experiment: Experiment) -> None:
    """One experiment with its slots."""
    console = Console()
    console.print(f"[bold]{experiment.id}[/bold] on {experiment.target}")
    console.print(f"control:   {knobs(experiment.control)}")
    console.print(f"treatment: {knobs(experiment.treatment)}")
    console.print(f"proposed by {experiment.proposer}: {experiment.rationale}")
    if end := experiment.conclusion:
        console.print(f"[bold]{end.verdict}[/bold]: {end.reason}")
    table = Table()
    for column in (
        "slot",
        "arm",
        "requests",
        "attainment",
        "goodput",
        "TTFT P95",
        "gap P95",
        "note",
    ):
        table.add_column(column)
    for slot in experiment.slots:
        if seen := slot.outcome:
            table.add_row(
                str(slot.index), slot.arm.value, str(seen.requests),
                points(seen.attainment, signed=False) + "%", f"{seen.goodput_rps:.2f}/s",
                f"{seen.ttft_p95_s:.2f} s", f"{seen.gap_p95_s * 1000:.0f} ms", slot.excluded or "",
            )  # fmt: skip
        else:
            table.add_row(str(slot.index), slot.arm.value, "", "", "", "", "", slot.excluded or "")
    console.print(table)
