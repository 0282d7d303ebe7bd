"""`autotuner history list | show`: what was tried, and what came of it."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from autotuner.commands.operate import ConfigOption, TargetOption

history_app = typer.Typer(help="Past experiments: list them, show one with its slots.")


@history_app.command("list")
def list_experiments(
    config: ConfigOption,
    target: TargetOption = None,
    limit: Annotated[int, typer.Option(help="How many, newest first.", min=1)] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """List experiments, newest first."""
    from autotuner.bootstrap import open_configured_history
    from autotuner.commands.views import experiments_table, summary_as_dict
    from autotuner.config import load_config

    found = open_configured_history(load_config(config)).experiments(target=target, limit=limit)
    if as_json:
        typer.echo(json.dumps([summary_as_dict(one) for one in found], indent=2))
    else:
        experiments_table(found)


@history_app.command("show")
def show(
    experiment_id: Annotated[str, typer.Argument(help="As `history list` shows it.")],
    config: ConfigOption,
) -> None:
    """Show one experiment with its slots and its verdict in words."""
    from autotuner.bootstrap import open_configured_history
    from autotuner.commands.experiment_report import why_tried
    from autotuner.commands.views import experiment_report
    from autotuner.config import load_config
    from autotuner.domain.errors import HistoryError

    history = open_configured_history(load_config(config))
    found = history.experiment(experiment_id)
    if found is None:
        raise HistoryError(f"experiment {experiment_id!r}: unknown; see `autotuner history list`")
    experiment_report(found, history.ended_at(found.id), why_tried(history, found))
