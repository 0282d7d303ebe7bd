"""What commands print for programs: JSON on the standard output, and nothing else there."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Annotated, Any

import typer

JsonOption = Annotated[
    bool, typer.Option("--json", help="As JSON on the standard output; messages go to the other.")
]


def print_json(value: Any) -> None:
    """Prints `value`; what is no number (NaN, infinite) is null, since JSON has no word for it."""
    typer.echo(
        json.dumps(finite(value), indent=2, ensure_ascii=False, default=str, allow_nan=False)
    )


def finite(value: Any) -> Any:
    """`value` with null in place of each float that JSON can't say, at any depth."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): finite(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [finite(one) for one in value]
    return value


@contextmanager
def progress(what: str, total: int) -> Iterator[Callable[[int, str], None]]:
    """A bar on the error stream, moved by calls with what is done and what is seen meanwhile."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[seen]}"),
    )
    # What is printed meanwhile must not be led to the error stream, which Progress would do.
    with Progress(*columns, console=Console(stderr=True), redirect_stdout=False) as bar:
        task = bar.add_task(what, total=total, seen="")
        yield lambda done, seen: bar.update(task, completed=done, seen=seen)
