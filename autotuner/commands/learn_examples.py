"""`autotuner learn add | examples`: files of examples into the store, and what it has."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from autotuner.commands.operate import ConfigOption
from autotuner.commands.output import JsonOption, print_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from autotuner.config import LearnConfig
    from autotuner.finetune.store import ExampleStore
    from autotuner.finetune.versions import DatasetVersion


def add(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="JSONL: prompt, answer, score.")],
    config: ConfigOption,
    sha256: Annotated[
        str | None,
        typer.Option("--sha256", help="What its checksum must be; default: that in FILE.sha256."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Take a file of examples into the store: checked, cleaned, without duplicates.

    A file that does not keep to the rules is refused as a whole, with the reason. Nothing is
    trained; `learn run` does that.
    """
    from autotuner.bootstrap import open_configured_history
    from autotuner.config import load_config
    from autotuner.finetune.errors import RefusedFileError
    from autotuner.finetune.promotion import introduce, learning_target
    from autotuner.finetune.reception import receive, rules_of

    settings = load_config(config)
    target = learning_target(settings)
    assert settings.learn is not None
    store, rules = _store(settings.learn), rules_of(settings.learn)
    received = receive(file, store, rules, target.name, time.time, sha256)
    if not received.again:
        history = open_configured_history(settings)
        introduce(history, target, time.time())
        history.record_intake(received.intake)
        history.close()
    if received.intake.refused:
        raise RefusedFileError(received.intake.refused)
    version = store.versions()[(received.intake.version or 1) - 1]
    if as_json:
        print_json({**version.as_dict(), "again": received.again})
    else:
        typer.echo(_again(version, file) if received.again else _told(version))


def examples(config: ConfigOption, as_json: JsonOption = False) -> None:
    """List the versions of the store: what each file added, and why the rest was left out."""
    from autotuner.config import load_config
    from autotuner.finetune.promotion import learning_target

    settings = load_config(config)
    learning_target(settings)
    assert settings.learn is not None
    versions = _store(settings.learn).versions()
    if as_json:
        print_json([one.as_dict() for one in versions])
    elif versions:
        _print_table(versions)
    else:
        typer.echo("no examples yet; `autotuner learn add FILE` takes them in")


def _store(wanted: LearnConfig) -> ExampleStore:
    from autotuner.finetune.places import Places
    from autotuner.finetune.store import ExampleStore

    return ExampleStore(Places.of(wanted).examples, wanted.held_out_share)


def _told(version: DatasetVersion) -> str:
    said = f"v{version.number}: {version.kept} of {version.read} examples kept"
    return f"{said}, {version.held_out} of them held out{_left_out(version)}"


def _left_out(version: DatasetVersion) -> str:
    counts = {
        "near-duplicates": version.near_duplicates,
        "exact duplicates": version.exact_duplicates,
        **{why.replace("_", " "): count for why, count in version.dropped.items()},
    }
    words = ", ".join(f"{what} {count}" for what, count in counts.items() if count)
    return f"; left out: {words}" if words else ""


def _again(version: DatasetVersion, file: Path) -> str:
    from autotuner.commands.views import when

    return (
        f"{file.name}: in the store already, as v{version.number} since {when(version.at)} UTC "
        f"({version.source}); nothing was done"
    )


def _print_table(versions: Sequence[DatasetVersion]) -> None:
    from rich.console import Console
    from rich.table import Table

    from autotuner.commands.views import when

    table = Table(title="examples", title_justify="left")
    for column in ("version", "file", "at (UTC)"):
        table.add_column(column, overflow="fold")
    for column in ("read", "kept", "held out", "near-dup.", "exact dup."):
        table.add_column(column, justify="right")
    table.add_column("dropped", overflow="fold")
    for one in versions:
        counts = (one.read, one.kept, one.held_out, one.near_duplicates, one.exact_duplicates)
        table.add_row(f"v{one.number}", one.source, when(one.at), *map(str, counts), _dropped(one))
    Console().print(table)


def _dropped(version: DatasetVersion) -> str:
    counted: dict[str, Any] = dict(version.dropped)
    return ", ".join(f"{why.replace('_', ' ')} {count}" for why, count in counted.items())
