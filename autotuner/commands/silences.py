"""`autotuner silence add | list | end`: which alerts are not told to people for a while."""

from __future__ import annotations

import getpass
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from autotuner.commands.operate import ConfigOption
from autotuner.commands.output import JsonOption, print_json

if TYPE_CHECKING:
    from autotuner.domain.silences import Silence
    from autotuner.history.store import History

silence_app = typer.Typer(
    help="Alerts that are kept in the history but not told for a while: add, list, end."
)


@silence_app.command("add")
def add(
    config: ConfigOption,
    lasting: Annotated[str, typer.Option("--for", help="How long: 90s, 30m, 2h, 1h30m, 1d, 1w.")],
    comment: Annotated[str, typer.Option("--comment", "-m", help="Why; others will read it.")],
    target: Annotated[str, typer.Option("--target", "-t", help="Only this target's.")] = "",
    alert: Annotated[str, typer.Option("--alert", help="Only alerts of this name.")] = "",
    label: Annotated[
        list[str] | None,
        typer.Option("--label", help="name=value that they must have; repeatable."),
    ] = None,
    author: Annotated[str, typer.Option("--author", help="Default: your login name.")] = "",
    everything: Annotated[bool, typer.Option("--all", help="Every alert there is.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Silence alerts from now on; one that still fires when the silence ends is told then."""
    from dataclasses import replace

    from autotuner.domain.silences import Silence, duration_s

    history, now = _history(config), time.time()
    silence = Silence(
        starts_at=now,
        ends_at=now + duration_s(lasting, "--for"),
        author=author or _login(),
        comment=comment,
        target=_known_target(target, config, history),
        alert=alert,
        labels=tuple(sorted(map(_label, label or ()))),
    )
    _check(silence, everything)
    stored = replace(silence, id=history.add_silence(silence))
    if as_json:
        print_json(_as_dict(stored, now))
        return
    typer.echo(f"silence {stored.id} until {_when(stored.ends_at)}: {_matches(stored)}")
    typer.echo(_firing_words(_muted_now(history, stored, now)))


@silence_app.command("list")
def list_silences(
    config: ConfigOption,
    ended: Annotated[bool, typer.Option("--ended", help="Those that are over as well.")] = False,
    as_json: JsonOption = False,
) -> None:
    """List silences, newest first."""
    now = time.time()
    found = _history(config).silences(None if ended else now)
    if as_json:
        print_json([_as_dict(one, now) for one in found])
    elif found:
        _print_table(found, now)
    else:
        typer.echo("no silences")


@silence_app.command("end")
def end(
    silence_id: Annotated[int, typer.Argument(metavar="ID", help="As `silence list` shows it.")],
    config: ConfigOption,
    as_json: JsonOption = False,
) -> None:
    """End a silence now; what it held back and still fires is told in the next cycle."""
    from autotuner.domain.errors import HistoryError

    now = time.time()
    if not _history(config).end_silence(silence_id, now):
        raise HistoryError(
            f"silence {silence_id}: there is none that has not ended; see `autotuner silence list`"
        )
    if as_json:
        print_json({"id": silence_id, "ended_at": now})
    else:
        typer.echo("ended")


def _history(config: Path) -> History:
    from autotuner.bootstrap import open_configured_history
    from autotuner.config import load_config

    return open_configured_history(load_config(config))


def _known_target(target: str, config: Path, history: History) -> str:
    """`target`, if there is one of that name: one that is misspelt would silence nothing."""
    from autotuner.config import load_config
    from autotuner.domain.errors import ConfigError

    # Several daemons, each with its own targets, may share a history.
    names = {one.name for one in load_config(config).targets} | set(history.targets())
    if target and target not in names:
        raise ConfigError(f"--target={target!r}: unknown; give one of {', '.join(sorted(names))}")
    return target


def _label(text: str) -> tuple[str, str]:
    from autotuner.domain.errors import ConfigError

    name, equals, value = text.partition("=")
    if not (name and equals):
        raise ConfigError(f"--label={text!r}: give NAME=VALUE, such as tier=hardware")
    return name, value


def _login() -> str:
    from autotuner.domain.errors import ConfigError

    try:
        return getpass.getuser()
    except (KeyError, OSError) as error:  # a container's user may have no name
        raise ConfigError("--author: this user has no login name; give one") from error


def _check(silence: Silence, everything: bool) -> None:
    from autotuner.domain.errors import ConfigError

    if not silence.comment.strip():
        raise ConfigError(f"--comment={silence.comment!r}: say why, so that others know")
    if silence.matches_all and not everything:
        raise ConfigError(
            "this would silence every alert of every target: "
            "give --target, --alert or --label, or --all to mean it"
        )
    if everything and not silence.matches_all:
        raise ConfigError(f"--all: contradicts {_matches(silence)}; give one or the other")


def silenced_now(history: History, target: str, now: float) -> int:
    """How many of the alerts that fire on `target` are silenced."""
    from autotuner.alerts.inhibition import silenced

    silences = history.silences(now)
    return sum(silenced(one, silences, now) for one in history.firing_alerts(target))


def _muted_now(history: History, silence: Silence, now: float) -> int:
    names = [silence.target] if silence.target else history.targets()
    return sum(silence.mutes(one, now) for name in names for one in history.firing_alerts(name))


def _firing_words(count: int) -> str:
    if count == 0:
        return "no alert that fires now matches it"
    one = "1 alert that fires now matches it"
    return one if count == 1 else f"{count} alerts that fire now match it"


def _matches(silence: Silence) -> str:
    parts = [f"target={silence.target}"] if silence.target else []
    parts += [f"alert={silence.alert}"] if silence.alert else []
    return ", ".join(parts + [f"{name}={value}" for name, value in silence.labels]) or "everything"


def _when(at: float) -> str:
    from autotuner.commands.views import when

    return f"{when(at)} UTC"


def _as_dict(silence: Silence, now: float) -> dict[str, Any]:
    return {
        "id": silence.id,
        "state": silence.state(now),
        "target": silence.target or None,
        "alert": silence.alert or None,
        "labels": dict(silence.labels),
        "starts_at": silence.starts_at,
        "ends_at": silence.ends_at,
        "author": silence.author,
        "comment": silence.comment,
    }


def _print_table(silences: tuple[Silence, ...], now: float) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title="silences", title_justify="left")
    for column in ("id", "state", "matches", "until", "author", "comment"):
        table.add_column(column, overflow="fold")
    for one in silences:
        table.add_row(
            str(one.id),
            one.state(now),
            _matches(one),
            _when(one.ends_at),
            one.author,
            one.comment,
        )
    Console().print(table)
