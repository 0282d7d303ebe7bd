"""How fine-tunes look in a terminal and as JSON."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import typer
from rich.console import Console
from rich.table import Table

from autotuner.commands.views import when
from autotuner.domain.fine_tuning import BASE, FineTune
from autotuner.web.learning import fine_tune_view


def as_dict(tune: FineTune) -> dict[str, Any]:
    """As `--json` tells it, and the API too; figures that are not known are null."""
    told = asdict(fine_tune_view(tune))
    return {**told, "versions": list(tune.versions)}


def print_one(tune: FineTune) -> None:
    for key, value in as_dict(tune).items():
        typer.echo(f"{key:<18} {_words(key, value)}")


def print_status(told: dict[str, Any], last: FineTune | None) -> None:
    typer.echo(f"{told['target']}: weights {told['weights']}")
    progress = told["progress"]
    if told["running"] and progress:
        typer.echo(
            f"training {progress['name']}: update {progress['step']} of {progress['steps']}, "
            f"loss {progress['loss']:.3f}"
        )
    elif told["running"]:
        typer.echo("a run is under way")
    waiting = told["waiting_files"]
    typer.echo(f"files that wait: {', '.join(waiting) or 'none'}")
    typer.echo(f"next run: {when(told['next_run_at'])}")
    if last is not None:
        typer.echo(f"last: {last.name} is {last.stage}: {last.reason}")


def print_table(tunes: tuple[FineTune, ...], live: str) -> None:
    table = Table(title="fine-tunes", title_justify="left")
    table.add_column("name", no_wrap=True)
    for column in ("stage", "planned", "examples", "held-out loss", "forgetting", "reason"):
        table.add_column(column, overflow="fold")
    for tune in tunes:
        scores = tune.scores
        table.add_row(
            f"{tune.name} *" if tune.name == live else tune.name,
            str(tune.stage),
            when(tune.planned_at),
            f"{tune.examples} ({tune.replayed} older)",
            f"{scores.new_before:.3f} → {scores.new_after:.3f}",
            f"{scores.forgetting:+.3f}",
            tune.reason,
        )
    Console().print(table)
    typer.echo("the base is in force" if live == BASE else f"* in force: {live}")


def _words(key: str, value: Any) -> str:
    if key.endswith("_at"):
        return when(value)
    if isinstance(value, float):
        return f"{value:.4f}"
    return "–" if value in (None, "") else str(value)
