"""`autotuner experiment report`: one experiment as a page, a picture and data."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from autotuner.commands.completion import complete_experiment
from autotuner.commands.operate import ConfigOption
from autotuner.commands.output import JsonOption, print_json

if TYPE_CHECKING:
    from autotuner.domain.experiment import Experiment
    from autotuner.domain.explanation import Explanation
    from autotuner.history.store import History


def report(
    experiment_id: Annotated[
        str, typer.Argument(autocompletion=complete_experiment, help="As `history list` shows it.")
    ],
    config: ConfigOption,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="The folder; default: reports/ID.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Write one experiment's report: index.html, figure.png, report.json."""
    from autotuner.bootstrap import open_configured_history
    from autotuner.config import load_config
    from autotuner.domain.errors import ConfigError, HistoryError
    from autotuner.report.write import write_report

    history = open_configured_history(load_config(config))
    found = history.experiment(experiment_id)
    if found is None:
        raise HistoryError(f"experiment {experiment_id!r}: unknown; see `autotuner history list`")
    folder = Path("reports") / found.id if out is None else out
    try:
        ended_at = history.ended_at(found.id)
        written = write_report(found, folder, ended_at, why_tried(history, found))
    except OSError as problem:
        raise ConfigError(f"--out={folder}: can't be written to ({problem.strerror})") from problem
    if as_json:
        print_json({"experiment": found.id, "written": [str(path) for path in written]})
        return
    for path in written:
        typer.echo(path)


def why_tried(history: History, experiment: Experiment) -> Explanation | None:
    """The proposal's reason; of a confirm run, that of the test that it repeats."""
    first = experiment.plan.confirms
    return history.explanation(experiment.id) or (history.explanation(first) if first else None)
