"""`autotuner run | status | pause | resume | rollback`: the daemon, and words to a running one."""

from __future__ import annotations

import getpass
import json
import time
from pathlib import Path
from typing import Annotated

import typer

ConfigOption = Annotated[Path, typer.Option("--config", "-c", help="The configuration file.")]
TargetOption = Annotated[
    str | None, typer.Option("--target", "-t", help="Which target; needed with several.")
]


def run(config: ConfigOption) -> None:
    """Run the daemon until SIGTERM or Ctrl-C; the incumbent is live when it ends."""
    from autotuner.config import load_config
    from autotuner.web.serve import run_service

    run_service(load_config(config))


def status(
    config: ConfigOption,
    target: TargetOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Show what is live on each target and why, the running test, and the daemon's last word."""
    from autotuner.bootstrap import open_configured_history
    from autotuner.commands.silences import silenced_now
    from autotuner.commands.views import status_as_dict, status_table
    from autotuner.config import load_config

    settings = load_config(config)
    history = open_configured_history(settings)
    names = [target] if target else [t.name for t in settings.targets]
    now = time.time()
    found = [(history.status(name), silenced_now(history, name, now)) for name in names]
    if as_json:
        typer.echo(json.dumps([status_as_dict(*one) for one in found], indent=2))
        return
    for one, silenced in found:
        status_table(one, now, silenced)


def pause(config: ConfigOption, target: TargetOption = None) -> None:
    """Only observe from the next cycle on; a running test ends and the incumbent comes back."""
    _ask("pause", config, target)


def resume(config: ConfigOption, target: TargetOption = None) -> None:
    """Tune again."""
    _ask("resume", config, target)


def rollback(config: ConfigOption, target: TargetOption = None) -> None:
    """End a running test and apply the incumbent, in the next cycle."""
    _ask("rollback", config, target)


def _ask(what: str, config_path: Path, target: str | None) -> None:
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
    history.ask(chosen, what, getpass.getuser(), time.time())
    typer.echo(f"{what} asked for {chosen}; the daemon acts in its next cycle")
