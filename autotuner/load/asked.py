"""From what the command was asked to a run of requests: the traffic's plan, the run, its report."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import typer
from rich.console import Console
from rich.progress import Progress, TextColumn, TimeElapsedColumn

from autotuner.domain.errors import ConfigError
from autotuner.load.arrivals import RateCurve, bursty, diurnal, steady
from autotuner.load.kinds import Process, Shape, TraceFormat
from autotuner.load.lengths import named_mix
from autotuner.load.plan import Clamp, Plan, Replay, from_trace, rate_scale_for, synthetic
from autotuner.load.report import LoadReport
from autotuner.load.results import RequestResult
from autotuner.load.runner import LoadOptions, LoadRun, OnResult, generate
from autotuner.load.traces import read_trace

STDOUT = Path("-")


@dataclass(frozen=True)
class Drawn:
    """Traffic that is drawn: its rate, shape and mix."""

    rate_rps: float
    duration_s: float
    process: Process
    cv: float
    shape: Shape
    period_s: float | None
    mix: str

    def __post_init__(self) -> None:
        for name in ("rate_rps", "duration_s", "period_s"):
            value = getattr(self, name)
            if value is not None and not 0 < value < float("inf"):
                option = name.removesuffix("_rps").replace("_", "-")
                raise ConfigError(f"--{option}={value}: give a number above 0")

    def plan(self, seed: int, clamp: Clamp) -> Plan:
        return synthetic(self._curve(seed), self.process, named_mix(self.mix), seed, self.cv, clamp)

    def _curve(self, seed: int) -> RateCurve:
        match self.shape:
            case Shape.STEADY:
                return steady(self.rate_rps, self.duration_s)
            case Shape.DIURNAL:
                period_s = self.period_s or self.duration_s
                return diurnal(self.rate_rps, self.duration_s, period_s)
            case Shape.BURSTY:
                rng = np.random.default_rng((seed, 1))
                return bursty(self.rate_rps, self.duration_s, rng)


def trace_plan(
    path: Path,
    kind: TraceFormat,
    replay: Replay,
    rate_rps: float | None,
    seed: int,
    clamp: Clamp,
) -> Plan:
    """A trace's plan; with `rate_rps` it is thinned out or multiplied to that mean rate."""
    trace = read_trace(path, kind)
    if rate_rps is not None:
        scale = rate_scale_for(trace, rate_rps, replay.time_scale)
        replay = Replay(replay.time_scale, scale, replay.duration_s, replay.limit)
    return from_trace(trace, replay, seed, clamp)


def with_progress(options: LoadOptions) -> LoadRun:
    """The run, with a line on the terminal that counts answers."""
    console = Console(stderr=True)
    if not console.is_terminal:
        return generate(options)
    columns = (TextColumn("{task.completed}/{task.total} answers"), TimeElapsedColumn())
    # Two frames a second: the terminal must not take the processor from the server.
    with Progress(*columns, console=console, refresh_per_second=2, transient=True) as progress:
        return generate(options, _counting(progress, len(options.plan)))


def _counting(progress: Progress, total: int) -> OnResult:
    task = progress.add_task("answers", total=total)

    def count(_result: RequestResult) -> None:
        progress.advance(task)

    return count


def write_json(path: Path, report: LoadReport, options: LoadOptions) -> None:
    """To `path`, or to the standard output for -; raises ConfigError where it can't be written."""
    sent: dict[str, Any] = {
        "url": options.url,
        "model": options.model,
        "seed": options.seed,
        "planned": len(options.plan),
    }
    text = json.dumps({"load": sent, **report.as_json()}, indent=1) + "\n"
    try:
        if path == STDOUT:
            typer.echo(text, nl=False)
        else:
            path.write_text(text)
    except OSError as error:
        raise ConfigError(f"--json={str(path)!r}: can't be written: {error}") from error
