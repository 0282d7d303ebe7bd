"""`autotuner run | status | pause | resume | rollback`: the daemon, and words to a running one."""

from __future__ import annotations

import getpass
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from autotuner.commands.completion import CONFIG_FILE, complete_target
from autotuner.commands.output import JsonOption, print_json

if TYPE_CHECKING:
    from autotuner.config import Config
    from autotuner.domain.error_budget import ErrorBudget
    from autotuner.history.store import History

ConfigOption = Annotated[
    Path,
    typer.Option(
        "--config",
        "-c",
        envvar="AUTOTUNER_CONFIG",
        default_factory=partial(Path, CONFIG_FILE),
        show_default=CONFIG_FILE,
        help="The configuration file.",
    ),
]
TargetOption = Annotated[
    str | None,
    typer.Option(
        "--target",
        "-t",
        autocompletion=complete_target,
        help="Which target; needed with several.",
    ),
]


def run(config: ConfigOption) -> None:
    """Run the daemon until SIGTERM or Ctrl-C; the incumbent is live when it ends.

    SIGHUP reloads the configuration.
    """
    from autotuner.config import load_config
    from autotuner.web.serve import run_service

    run_service(load_config(config), partial(load_config, config), config)


def status(
    config: ConfigOption,
    target: TargetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what is live on each target and why, the running test, and the daemon's last word."""
    from autotuner.bootstrap import open_configured_history
    from autotuner.commands.leadership import leader_as_dict, leader_sentence
    from autotuner.commands.silences import silenced_now
    from autotuner.commands.views import status_as_dict, status_table
    from autotuner.config import load_config

    settings = load_config(config)
    history = open_configured_history(settings)
    names = (
        [known_target(history, settings, target)] if target else [t.name for t in settings.targets]
    )
    now = time.time()
    found = [
        (
            history.status(name),
            silenced_now(history, name, now),
            known_budget(history, settings, name, now),
        )
        for name in names
    ]
    leader = leader_as_dict(history, settings.leader.name)
    if as_json:
        print_json([status_as_dict(*one) | {"leader": leader} for one in found])
        return
    for one, silenced, budget in found:
        status_table(one, now, silenced, budget)
    typer.echo(leader_sentence(leader))


def pause(config: ConfigOption, target: TargetOption = None, as_json: JsonOption = False) -> None:
    """Only observe from the next cycle on; a running test ends and the incumbent comes back."""
    _ask("pause", config, target, as_json=as_json)


def resume(config: ConfigOption, target: TargetOption = None, as_json: JsonOption = False) -> None:
    """Tune again."""
    _ask("resume", config, target, as_json=as_json)


def rollback(
    config: ConfigOption, target: TargetOption = None, as_json: JsonOption = False
) -> None:
    """End a running test and apply the incumbent, in the next cycle."""
    _ask("rollback", config, target, as_json=as_json)


def known_budget(history: History, settings: Config, target: str, now: float) -> ErrorBudget | None:
    """By the target's policy; None where that keeps none, or this configuration has no such target.

    Raises ConfigError for a policy that can't be used.
    """
    from autotuner.availability import read_budget
    from autotuner.config import load_policy
    from autotuner.resources import resource_folder

    for one in settings.targets:
        if one.name == target:
            goal = load_policy(one.policy, resource_folder("policies")).availability
            return read_budget(history, target, goal.to_domain(), now) if goal else None
    return None


def known_target(history: History, settings: Config, target: str) -> str:
    """`target`, if the configuration or the history has it: several daemons may share one."""
    from autotuner.domain.errors import ConfigError

    names = sorted({one.name for one in settings.targets} | set(history.targets()))
    if target not in names:
        raise ConfigError(f"--target={target!r}: unknown; give one of {', '.join(names)}")
    return target


def _ask(what: str, config_path: Path, target: str | None, *, as_json: bool) -> None:
    """Writes the wish into the history, where the daemon finds it, whoever runs it."""
    from autotuner.bootstrap import open_configured_history
    from autotuner.config import load_config
    from autotuner.domain.errors import ConfigError

    config = load_config(config_path)
    names = [t.name for t in config.targets]
    if target is None and len(names) > 1:
        raise ConfigError(f"--target: needed, since there are several: {', '.join(names)}")
    chosen = target or names[0]
    if chosen not in names:
        raise ConfigError(f"--target={chosen!r}: unknown; give one of {', '.join(names)}")
    history = open_configured_history(config)
    number = history.ask(chosen, what, getpass.getuser(), time.time())
    if as_json:
        print_json({"request": number, "asked": what, "target": chosen})
        return
    typer.echo(f"{what} asked for {chosen}; the daemon acts in its next cycle")
