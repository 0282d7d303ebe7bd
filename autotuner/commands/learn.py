"""`autotuner learn run | status | versions | show | promote | rollback`: a model that learns on.

A run does the work and may be killed at any time; the rest speaks to the daemon through the
history.
"""

from __future__ import annotations

import getpass
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from autotuner.commands.learn_examples import add, examples
from autotuner.commands.operate import ConfigOption
from autotuner.commands.output import JsonOption, print_json

if TYPE_CHECKING:
    from autotuner.config import Config, LearnConfig
    from autotuner.domain.fine_tuning import FineTune
    from autotuner.history.store import History

learn_app = typer.Typer(
    help="Fine-tuning of a target's model on new examples: take them in, train, test, keep."
)
learn_app.command("add")(add)
learn_app.command("examples")(examples)
NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="As `learn versions` shows it.")]
_NICENESS = 19


@learn_app.command("run")
def run(
    config: ConfigOption,
    with_parent: Annotated[
        bool, typer.Option("--with-parent", hidden=True, help="End when the starter is gone.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Take in what waits, train on it, judge it, and ask for a live test if it is better.

    The daemon does this by itself, at the times that learn.at says. Where an earlier run was
    killed, this one goes on with it.
    """
    from autotuner.finetune.job import Job
    from autotuner.finetune.trainer import AdapterTrainer

    os.nice(_NICENESS)
    settings, wanted, history = _opened(config)
    trainer = AdapterTrainer(base_of(wanted), wanted)
    starter = os.getppid()

    def told() -> None:
        if with_parent and os.getppid() != starter:
            raise SystemExit("who started this run is gone; the next one goes on with it")

    said = Job(settings, history, trainer, told).run()
    if as_json:
        print_json({"said": said})
    else:
        typer.echo(said)


@learn_app.command("status")
def status(config: ConfigOption, as_json: JsonOption = False) -> None:
    """Show the weights in force, what is under way, and when the next run begins."""
    from autotuner.commands.learn_views import as_dict, print_status
    from autotuner.finetune.places import Places
    from autotuner.finetune.promotion import learning_target, weights_in_force
    from autotuner.finetune.schedule import next_due

    settings, wanted, history = _opened(config)
    target, places, now = learning_target(settings).name, Places.of(wanted), time.time()
    tunes = history.fine_tunes(target, 1)
    running = places.is_locked()
    told: dict[str, Any] = {
        "target": target,
        "weights": weights_in_force(history, target),
        "running": running,
        "progress": places.progress() if running else {},
        "waiting_files": [path.name for path in places.waiting()],
        "next_run_at": next_due(wanted.at, now),
        "last": as_dict(tunes[0]) if tunes else None,
    }
    if as_json:
        print_json(told)
    else:
        print_status(told, tunes[0] if tunes else None)


@learn_app.command("versions")
def versions(
    config: ConfigOption,
    limit: Annotated[int, typer.Option(help="How many, newest first.", min=1)] = 20,
    as_json: JsonOption = False,
) -> None:
    """List the weights that were trained, and what became of each."""
    from autotuner.commands.learn_views import as_dict, print_table
    from autotuner.finetune.promotion import learning_target, weights_in_force

    settings, _, history = _opened(config)
    target = learning_target(settings).name
    tunes, live = history.fine_tunes(target, limit), weights_in_force(history, target)
    if as_json:
        print_json([{**as_dict(tune), "in_force": tune.name == live} for tune in tunes])
    elif tunes:
        print_table(tunes, live)
    else:
        typer.echo(f"nothing was trained for {target} yet; its weights are {live}")


@learn_app.command("show")
def show(name: NameArgument, config: ConfigOption, as_json: JsonOption = False) -> None:
    """Show one fine-tune: its examples, its figures, its live test and the reason of its end."""
    from autotuner.commands.learn_views import as_dict, print_one
    from autotuner.finetune.promotion import learning_target

    settings, _, history = _opened(config)
    tune = _named(history, learning_target(settings).name, name)
    if as_json:
        print_json(as_dict(tune))
    else:
        print_one(tune)


@learn_app.command("promote")
def promote(name: NameArgument, config: ConfigOption, as_json: JsonOption = False) -> None:
    """Ask for another live test of weights that were not kept; the test decides, as ever."""
    from autotuner.commands.learn_views import as_dict
    from autotuner.domain.errors import ConfigError
    from autotuner.domain.fine_tuning import Stage
    from autotuner.finetune.places import Places
    from autotuner.finetune.promotion import learning_target, offered

    settings, wanted, history = _opened(config)
    tune = _named(history, learning_target(settings).name, name)
    if tune.stage not in (Stage.REFUSED, Stage.UNDECIDED, Stage.ROLLED_BACK):
        raise ConfigError(f"{name} is {tune.stage}: only weights that were not kept are offered")
    Places.of(wanted).adapter(name)
    asked = offered(history, settings, tune, getpass.getuser(), time.time())
    if as_json:
        print_json(as_dict(asked))
    else:
        typer.echo(
            f"request {asked.request_id}: a live test of {name}; "
            f"`autotuner experiment show {asked.request_id}` follows it"
        )


@learn_app.command("rollback")
def rollback(
    config: ConfigOption,
    to: Annotated[
        str | None, typer.Option("--to", help="Which weights; default: those before the live ones.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Have earlier weights live again, in the daemon's next cycle; a running test ends."""
    from autotuner.finetune.places import Places
    from autotuner.finetune.promotion import learning_target, rolled_back

    settings, wanted, history = _opened(config)
    if to is not None:
        Places.of(wanted).adapter(to)
    target, who = learning_target(settings).name, getpass.getuser()
    were, will_be = rolled_back(history, target, to, who, time.time())
    if as_json:
        print_json({"target": target, "were": were, "will_be": will_be})
    else:
        typer.echo(f"{target}: weights {were} → {will_be} in the daemon's next cycle")


def base_of(wanted: LearnConfig) -> Path:
    """The weights that adapters are trained on; the embedded model's where none are named."""
    if wanted.base is not None:
        return Path(wanted.base)
    from autotuner.domain.errors import ConfigError
    from autotuner.worker.model_config import ModelError
    from autotuner.worker.weights import resolve_model

    try:
        return resolve_model(None)  # converted once: reading the GGUF file takes five times as long
    except ModelError as problem:
        raise ConfigError(f"learn.base: {problem}") from problem


def _opened(path: Path) -> tuple[Config, LearnConfig, History]:
    from autotuner.bootstrap import open_configured_history
    from autotuner.config import load_config
    from autotuner.finetune.promotion import learning_target

    settings = load_config(path)
    learning_target(settings)
    assert settings.learn is not None
    return settings, settings.learn, open_configured_history(settings)


def _named(history: History, target: str, name: str) -> FineTune:
    from autotuner.domain.errors import ConfigError

    tune = history.fine_tune(target, name)
    if tune is None:
        raise ConfigError(
            f"{name!r}: {target} has no such fine-tune; see `autotuner learn versions`"
        )
    return tune
