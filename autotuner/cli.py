"""`autotuner`: mounts the commands; turns our own errors into one line and an exit code."""

from __future__ import annotations

import sys

import typer

from autotuner import __version__
from autotuner.commands.agent_learning import calibrate, checks, improve
from autotuner.commands.agents import agent_app
from autotuner.commands.configs import config_app
from autotuner.commands.doctor import doctor
from autotuner.commands.experiments import experiment_app
from autotuner.commands.histories import history_app
from autotuner.commands.init import init
from autotuner.commands.learn import learn_app
from autotuner.commands.operate import pause, resume, rollback, run, status
from autotuner.commands.plan import plan
from autotuner.commands.proxy import proxy
from autotuner.commands.quarantines import quarantine_app
from autotuner.commands.replays import simulate
from autotuner.commands.service_install import service_app
from autotuner.commands.showcase import demo
from autotuner.commands.silences import silence_app
from autotuner.commands.studies import study_app
from autotuner.commands.tokens import token_app
from autotuner.domain.errors import AutotunerError
from autotuner.load.command import load_command
from autotuner.logs import quiet_logs
from autotuner.worker.command import worker_command

app = typer.Typer(
    name="autotuner",
    help="Keeps an LLM inference service at its best settings, and proves every change.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.command("demo")(demo)
app.command("init")(init)
app.command("doctor")(doctor)
app.command("run")(run)
app.command("status")(status)
app.command("pause")(pause)
app.command("resume")(resume)
app.command("rollback")(rollback)
app.add_typer(experiment_app, name="experiment")
app.add_typer(history_app, name="history")
app.add_typer(quarantine_app, name="quarantine")
app.add_typer(silence_app, name="silence")
app.add_typer(token_app, name="token")
app.add_typer(config_app, name="config")
app.add_typer(service_app, name="service")
agent_app.command("calibrate")(calibrate)
agent_app.command("checks")(checks)
agent_app.command("improve")(improve)
app.add_typer(agent_app, name="agent")
app.add_typer(learn_app, name="learn")
app.command("plan")(plan)
app.command("simulate")(simulate)
app.command("worker")(worker_command)
app.command("proxy")(proxy)
app.command("load")(load_command)
app.add_typer(study_app, name="study")


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"autotuner {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Show the version and end."
    ),
) -> None:
    """Keeps an LLM inference service at its best settings, and proves every change."""


def main() -> None:
    """The entry point. A user's mistake is a sentence and exit code 2, never a traceback."""
    quiet_logs()
    try:
        app()
    except AutotunerError as problem:
        typer.echo(f"error: {problem}", err=True)
        sys.exit(2)
