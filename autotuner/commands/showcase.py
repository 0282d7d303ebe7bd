"""`autotuner demo`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def demo(
    folder: Annotated[
        Path | None, typer.Option(help="Where history, logs and figure go; default: .demo/TIME.")
    ] = None,
    minutes: Annotated[float, typer.Option(min=4, max=120, help="At most this long.")] = 15.0,
    seed: Annotated[int, typer.Option(help="Of the load.")] = 7,
) -> None:
    """Take poor settings to proven better ones, with a real model, load and daemon."""
    from rich.console import Console

    from autotuner.demo.play import DemoOptions, default_folder, perform
    from autotuner.domain.errors import ConfigError

    chosen = folder or default_folder()
    try:
        chosen.mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        raise ConfigError(
            f"--folder={chosen}: can't be made ({problem.strerror}): give one that can be written"
        ) from problem
    options = DemoOptions(chosen, minutes, seed)
    raise typer.Exit(perform(options, Console()))
