"""`autotuner study list | run`: reproducible measurements of a checkout."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from autotuner.commands.output import JsonOption, print_json

study_app = typer.Typer(help="Reproducible measurements: experiments/studies of a checkout.")


@study_app.command("list")
def list_studies(as_json: JsonOption = False) -> None:
    """Name the studies and what each one asks."""
    from autotuner.studies import find_studies

    if as_json:
        print_json([{"name": one.name, "asks": one.question} for one in find_studies()])
        return
    for study in find_studies():
        typer.echo(f"{study.name}: {study.question}")


@study_app.command("run")
def run_study(
    names: Annotated[list[str] | None, typer.Argument(help="Studies to run.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Run every study.")] = False,
    quick: Annotated[
        bool, typer.Option("--quick", help="Few repeats, nothing kept: checks that it runs.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Run studies; results.json and figure.png land in the study's folder (not with --quick)."""
    from autotuner.studies import choose

    found = []
    chosen = choose(names or [], every=every)
    for number, study in enumerate(chosen, start=1):
        typer.echo(f"study {study.name}: begins ({number} of {len(chosen)})", err=True)
        began = time.monotonic()
        with tempfile.TemporaryDirectory() as scratch:
            results = study.run(quick=quick, out=Path(scratch) if quick else study.folder)
        found.append(results)
        if not as_json:
            _print_results(study.name, results, time.monotonic() - began, quick=quick)
    if as_json:
        print_json(found)


def _print_results(name: str, results: dict[str, Any], took_s: float, *, quick: bool) -> None:
    typer.echo(f"study {name}: done in {took_s:.0f} s")
    for check in results["checks"]:
        mark = "holds" if check["holds"] else "MISSED"
        bound = "at least" if check["direction"] == "at_least" else "at most"
        typer.echo(
            f"  {check['name']}: {check['value']:.4g} {check['unit']}"
            f" ({bound} {check['target']:g}): {mark}" + (" [quick]" if quick else "")
        )


@study_app.command("readme")
def readme() -> None:
    """Rewrite the README's table from the results that are kept."""
    from autotuner.studies import ROOT, checks_table, with_table

    path = ROOT / "README.md"
    path.write_text(with_table(path.read_text("utf-8"), checks_table()), "utf-8")
    typer.echo(f"wrote the table of {path.name}")
