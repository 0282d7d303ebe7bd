"""`autotuner simulate`: a policy tried over days in seconds."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from autotuner.commands.output import JsonOption, print_json

HOUR_S = 3600.0


def simulate(
    policy: Annotated[str, typer.Option(help="A file, or a name under policies/.")] = "default",
    hours: Annotated[float, typer.Option(min=0.1, help="Length of the virtual time.")] = 24.0,
    rate: Annotated[float, typer.Option(min=0.01, help="Mean requests per second.")] = 2.0,
    swing: Annotated[
        float, typer.Option(min=0, max=0.95, help="Daily swing of the rate, a share of its mean.")
    ] = 0.5,
    seed: Annotated[int, typer.Option(help="Of arrivals, lengths and noise.")] = 0,
    cycle_s: Annotated[float, typer.Option(min=0.5, help="Seconds between cycles.")] = 5.0,
    max_num_seqs: Annotated[int, typer.Option(help="Where the settings start.")] = 32,
    max_num_batched_tokens: Annotated[int, typer.Option(help="Where the settings start.")] = 2048,
    prophet: Annotated[
        bool, typer.Option("--prophet", help="Forecast with Prophet (slower), not its fallback.")
    ] = False,
    history: Annotated[
        Path | None, typer.Option(help="Keep the history in this SQLite file.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Run the daemon's brain against the simulator on a virtual clock; print what it found.

    The same arrivals are also served with the starting settings, for comparison.
    """
    from rich.console import Console

    from autotuner.commands.replay_run import ReplayOptions, run_replay
    from autotuner.commands.replay_view import replay_report

    start = {"max_num_seqs": max_num_seqs, "max_num_batched_tokens": max_num_batched_tokens}
    options = ReplayOptions(
        policy, hours * HOUR_S, rate, swing, seed, cycle_s, start, prophet, history
    )
    report = run_replay(options, Console(stderr=True))
    if as_json:
        print_json(asdict(report))
    else:
        replay_report(report)
