"""`autotuner history list | show`: what was tried, and what came of it."""

from __future__ import annotations

from typing import Annotated

import typer

from autotuner.commands.completion import complete_experiment
from autotuner.commands.history_files import backup, compact, export, restore
from autotuner.commands.operate import ConfigOption, TargetOption, known_target
from autotuner.commands.output import JsonOption, print_json

history_app = typer.Typer(help="Past experiments; and the history as files: size, export, backup.")

for _command in (compact, export, backup, restore):
    history_app.command()(_command)

ExperimentArgument = Annotated[
    str, typer.Argument(autocompletion=complete_experiment, help="As `history list` shows it.")
]


@history_app.command("list")
def list_experiments(
    config: ConfigOption,
    target: TargetOption = None,
    limit: Annotated[int, typer.Option(help="How many, newest first.", min=1)] = 20,
    as_json: JsonOption = False,
) -> None:
    """List experiments, newest first."""
    from autotuner.bootstrap import open_configured_history
    from autotuner.commands.views import experiments_table, summary_as_dict
    from autotuner.config import load_config

    settings = load_config(config)
    history = open_configured_history(settings)
    if target is not None:
        known_target(history, settings, target)
    found = history.experiments(target=target, limit=limit)
    if as_json:
        print_json([summary_as_dict(one) for one in found])
    else:
        experiments_table(found)


@history_app.command("show")
def show(
    experiment_id: ExperimentArgument,
    config: ConfigOption,
    as_json: JsonOption = False,
) -> None:
    """Show one experiment with its slots and its verdict in words."""
    from autotuner.bootstrap import open_configured_history
    from autotuner.commands.experiment_report import why_tried
    from autotuner.commands.views import experiment_report
    from autotuner.config import load_config
    from autotuner.domain.errors import HistoryError
    from autotuner.report.data import report_data

    history = open_configured_history(load_config(config))
    found = history.experiment(experiment_id)
    if found is None:
        raise HistoryError(f"experiment {experiment_id!r}: unknown; see `autotuner history list`")
    ended_at, why = history.ended_at(found.id), why_tried(history, found)
    if as_json:
        print_json(report_data(found, ended_at, why))
    else:
        experiment_report(found, ended_at, why)
