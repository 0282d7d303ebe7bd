"""`autotuner history compact | export | backup | restore`: the history as files and their size."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from autotuner.commands.operate import ConfigOption, TargetOption
from autotuner.history.formats import Format

ForceOption = Annotated[bool, typer.Option("--force", help="Write over a file that is there.")]


def compact(
    config: ConfigOption,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Tell what would go; change nothing.")
    ] = False,
) -> None:
    """Drop and thin what is older than the configuration keeps, and make the file smaller."""
    from autotuner.bootstrap import open_configured_history
    from autotuner.config import load_config
    from autotuner.keeping import keeping_of

    loaded = load_config(config)
    history = open_configured_history(loaded)
    told = history.compact(keeping_of(loaded, time.time()), dry_run=dry_run)
    history.close()
    changed = [name for name, rows in told.rows_before.items() if told.rows_after[name] != rows]
    for name in changed:
        typer.echo(f"{name}: {told.rows_before[name]} → {told.rows_after[name]} rows")
    rows = f"{sum(told.rows_before.values())} → {sum(told.rows_after.values())} rows in all"
    size = f"{told.bytes_before} bytes" if dry_run else (
        f"{told.bytes_before} → {told.bytes_after} bytes"
    )  # fmt: skip
    typer.echo(f"{'would be: ' if dry_run else ''}{rows}; {size}")


def export(
    what: Annotated[str, typer.Argument(metavar="TABLE|VIEW", help="Such as v_experiments.")],
    config: ConfigOption,
    out: Annotated[Path, typer.Option("--out", help="The file to write.")],
    form: Annotated[Format, typer.Option("--format", help="Of the file.")] = Format.CSV,
    since: Annotated[
        str | None, typer.Option(help="From then on: ISO 8601 (UTC unless it says) or epoch s.")
    ] = None,
    until: Annotated[str | None, typer.Option(help="Before then.")] = None,
    target: TargetOption = None,
    iso: Annotated[bool, typer.Option(help="ISO times beside those in epoch seconds.")] = True,
    force: ForceOption = False,
) -> None:
    """Write a table or a view to a file; rows pass through one by one."""
    from autotuner.bootstrap import open_configured_history
    from autotuner.config import load_config
    from autotuner.history.export import Wanted

    wanted = Wanted(what, _time("since", since), _time("until", until), target, iso)
    history = open_configured_history(load_config(config))
    try:
        rows = history.export(wanted, form, out, force=force)
    finally:
        history.close()
    typer.echo(f"{rows} rows of {what} in {out}")


def backup(
    file: Annotated[Path, typer.Argument(help="The copy to make.")],
    config: ConfigOption,
    force: ForceOption = False,
) -> None:
    """Copy an SQLite history while the daemon writes to it; the copy is checked."""
    from autotuner.config import load_config
    from autotuner.history.backup import backup as copy

    size = copy(load_config(config).history, file, force=force)
    typer.echo(f"{size} bytes in {file}")


def restore(
    file: Annotated[Path, typer.Argument(help="What `history backup` has made.")],
    to: Annotated[str, typer.Option("--to", help="sqlite:///PATH or postgresql://USER@HOST/DB")],
) -> None:
    """Make an empty history of a copy, on SQLite or PostgreSQL; the copy is left as it is."""
    from autotuner.history.backup import restore as bring_back

    applied = bring_back(file, to)
    more = f", upgraded by {', '.join(applied)}" if applied else ""
    typer.echo(f"restored{more}; set it as `history` in the configuration")


def _time(field: str, said: str | None) -> float | None:
    from autotuner.domain.errors import ConfigError

    if said is None:
        return None
    try:
        return float(said)
    except ValueError:
        pass
    try:
        at = datetime.fromisoformat(said)
    except ValueError as problem:
        raise ConfigError(
            f"{field}={said!r}: is no time: give such as 2026-01-31T12:00Z, or epoch seconds"
        ) from problem
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()
