"""`autotuner quarantine list | lift`: settings that are not tried, and may be tried again."""

from __future__ import annotations

import getpass
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from autotuner.commands.operate import ConfigOption, TargetOption, known_target
from autotuner.commands.output import JsonOption, print_json

if TYPE_CHECKING:
    from autotuner.history.records import Quarantine

quarantine_app = typer.Typer(
    help="Settings that did harm, or whose engine failed, and are not tried: list, lift."
)

_SHOWN = 12  # characters of a digest: enough to tell some hundred settings apart


@quarantine_app.command("list")
def list_quarantines(
    config: ConfigOption, target: TargetOption = None, as_json: JsonOption = False
) -> None:
    """List what is not tried now, and why; oldest first."""
    from autotuner.bootstrap import open_configured_history
    from autotuner.config import load_config

    settings = load_config(config)
    history = open_configured_history(settings)
    if target is not None:
        known_target(history, settings, target)
    found = history.held(target, time.time())
    if as_json:
        print_json([_as_dict(one) for one in found])
    elif found:
        _print_table(found)
    else:
        typer.echo("nothing is in quarantine")


@quarantine_app.command("lift")
def lift(
    digest: Annotated[str, typer.Argument(help="As `quarantine list` shows it, or its beginning.")],
    config: ConfigOption,
    comment: Annotated[str, typer.Option("--comment", "-m", help="Why; others will read it.")],
    target: TargetOption = None,
    author: Annotated[str, typer.Option("--author", help="Default: your login name.")] = "",
    as_json: JsonOption = False,
) -> None:
    """Let settings be tried again, from the daemon's next cycle on.

    Where others that need no more memory ran out of it, those still rule them out, until they are
    lifted as well.
    """
    from autotuner.asking import lift_named
    from autotuner.bootstrap import open_configured_history
    from autotuner.config import load_config
    from autotuner.domain.errors import ConfigError

    if not comment.strip():
        raise ConfigError(f"--comment={comment!r}: say why, so that others know")
    settings = load_config(config)
    history = open_configured_history(settings)
    if target is not None:
        known_target(history, settings, target)
    held = lift_named(history, digest, target, author or _login(), comment.strip(), time.time())
    if as_json:
        print_json(_as_dict(held))
        return
    typer.echo(
        f"{held.settings!r} of {held.target} may be tried again, from the daemon's next cycle on"
    )


def _login() -> str:
    from autotuner.domain.errors import ConfigError

    try:
        return getpass.getuser()
    except (KeyError, OSError) as error:  # a container's user may have no name
        raise ConfigError("--author: this user has no login name; give one") from error


def _as_dict(one: Quarantine) -> dict[str, Any]:
    return {
        "digest": one.settings.digest,
        "target": one.target,
        "settings": dict(one.settings),
        "reason": one.reason,
        "since_at": one.since_at,
        "until_at": one.until_at,
    }


def _print_table(found: list[Quarantine]) -> None:
    from rich.console import Console
    from rich.table import Table

    from autotuner.commands.views import knobs, when

    table = Table(title="in quarantine", title_justify="left")
    table.add_column("digest", no_wrap=True)
    for column in ("target", "settings", "since", "until", "reason"):
        table.add_column(column, overflow="fold")
    for one in found:
        until = "for good" if one.until_at is None else when(one.until_at)
        table.add_row(
            one.settings.digest[:_SHOWN], one.target, knobs(one.settings), when(one.since_at),
            until, one.reason,
        )  # fmt: skip
    Console().print(table)
