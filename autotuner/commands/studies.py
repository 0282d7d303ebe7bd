"""`autotuner study list | run`: reproducible measurements of a checkout."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import nullcontext
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from autotuner.commands.output import JsonOption, print_json
from autotuner.domain.errors import ConfigError

if TYPE_CHECKING:
    from autotuner.studies import Study

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
    jobs: Annotated[
        int, typer.Option(min=1, help="Studies at a time; above 1 only with --quick.")
    ] = 1,
    as_json: JsonOption = False,
) -> None:
    """Run studies; results.json and figure.png land in the study's folder (not with --quick)."""
    from autotuner.studies import choose

    if jobs > 1 and not quick:
        raise ConfigError(
            f"--jobs {jobs}: studies that run beside each other disturb each other's timings; "
            "leave it out, or give --quick, of which nothing is kept"
        )
    chosen = choose(names or [], every=every)
    found = []
    for name, results, took_s in _ended(chosen, quick=quick, jobs=jobs):
        found.append(results)
        if not as_json:
            _print_results(name, results, took_s, quick=quick)
    if as_json:
        print_json(found)


Ended = tuple[str, dict[str, Any], float]  # name, results, seconds it took


def _ended(chosen: Sequence[Study], *, quick: bool, jobs: int) -> Iterator[Ended]:
    """The studies in the order in which they end; above one job each in a process of its own."""
    if jobs == 1:
        for study in chosen:
            yield _run(study, quick=quick)
        return
    pool = ProcessPoolExecutor(jobs, mp_context=get_context("spawn"), max_tasks_per_child=1)
    with pool:
        running = [pool.submit(_run, study, quick=quick) for study in chosen]
        try:
            for ended in as_completed(running):
                yield ended.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)  # those that run go on to their end, no other begins
            raise


def _run(study: Study, *, quick: bool) -> Ended:
    typer.echo(f"study {study.name}: begins", err=True)
    began = time.monotonic()
    with tempfile.TemporaryDirectory() if quick else nullcontext(study.folder) as folder:
        results = study.run(quick=quick, out=Path(folder))
    return study.name, results, time.monotonic() - began


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
