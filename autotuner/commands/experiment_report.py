"""`autotuner experiment report`: one experiment as a page, a picture and data."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from autotuner.commands.operate import ConfigOption

if TYPE_CHECKING:
    from autotuner.domain.experiment import Experiment
    from autotuner.history.store import History

_PAGE = 200


def report(
    experiment_id: Annotated[str, typer.Argument(help="As `experiment list` shows it.")],
    config: ConfigOption,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="The folder; default: reports/ID.")
    ] = None,
) -> None:
    """Write one experiment's report: index.html, figure.png, report.json."""
    from autotuner.bootstrap import open_configured_history
    from autotuner.config import load_config
    from autotuner.domain.errors import ConfigError, HistoryError
    from autotuner.report.write import write_report

    history = open_configured_history(load_config(config))
    found = history.experiment(experiment_id)
    if found is None:
        raise HistoryError(
            f"experiment {experiment_id!r}: unknown; see `autotuner experiment list`"
        )
    folder = Path("reports") / found.id if out is None else out
    try:
        written = write_report(found, folder, ended_at(history, found))
    except OSError as problem:
        raise ConfigError(f"--out={folder}: can't be written to ({problem.strerror})") from problem
    for path in written:
        typer.echo(path)


def ended_at(history: History, experiment: Experiment) -> float | None:
    """When the experiment ended, on the daemon's clock; None while it runs."""
    if experiment.running:
        return None
    before = None
    while page := history.experiments(target=experiment.target, before=before, limit=_PAGE):
        for summary in page:
            if summary.id == experiment.id:
                return summary.ended_at
        before = page[-1].id
    return None
