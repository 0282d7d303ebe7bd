"""`autotuner study list | run`: reproducible measurements of a checkout."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Annotated

import typer

study_app = typer.Typer(help="Reproducible measurements: experiments/studies of a checkout.")


@study_app.command("list")
def list_studies() -> None:
    """Name the studies and what each one asks."""
    from autotuner.studies import find_studies

    for study in find_studies():
        typer.echo(f"{study.name}: {study.question}")


@study_app.command("run")
def run_study(
    names: Annotated[list[str] | None, typer.Argument(help="Studies to run.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Run every study.")] = False,
    quick: Annotated[
        bool, typer.Option("--quick", help="Few repeats, nothing kept: checks that it runs.")
    ] = False,
) -> None:
    """Run studies; results.json and figure.png land in the study's folder (not with --quick)."""
    from autotuner.studies import choose

    for study in choose(names or [], every=every):
        began = time.monotonic()
        with tempfile.TemporaryDirectory() as scratch:
            results = study.run(quick=quick, out=Path(scratch) if quick else study.folder)
        typer.echo(f"study {study.name}: done in {time.monotonic() - began:.0f} s")
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
