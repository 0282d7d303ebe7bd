"""The command `autotuner load`: options in, a table and JSON out."""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.progress import Progress, TextColumn, TimeElapsedColumn

from autotuner.domain.errors import ConfigError
from autotuner.domain.slo import SLO
from autotuner.load.arrivals import Process, RateCurve, bursty, diurnal, steady
from autotuner.load.lengths import named_mix
from autotuner.load.plan import Clamp, Plan, Replay, from_trace, rate_scale_for, synthetic
from autotuner.load.report import LoadReport, summarise
from autotuner.load.results import RequestResult
from autotuner.load.runner import LoadOptions, LoadRun, OnResult, generate
from autotuner.load.table import report_table
from autotuner.load.traces import TraceFormat, read_trace


class Shape(StrEnum):
    """How the rate goes over time."""

    STEADY = "steady"
    DIURNAL = "diurnal"
    BURSTY = "bursty"


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


_STDOUT = Path("-")


def load_command(
    url: Annotated[str, typer.Option(help="The server, such as http://127.0.0.1:8000.")],
    rate: Annotated[
        float | None,
        typer.Option(help="Mean requests per second (1 if not given; a trace's own rate)."),
    ] = None,
    duration_s: Annotated[
        float | None, typer.Option(help="Seconds of traffic (60; a trace's whole length).")
    ] = None,
    arrivals: Annotated[Process, typer.Option(help="How regular arrivals are.")] = Process.POISSON,
    cv: Annotated[
        float, typer.Option(help="Gamma: the gaps' coefficient of variation; 1 is Poisson.")
    ] = 2.0,
    shape: Annotated[Shape, typer.Option(help="How the rate goes over time.")] = Shape.STEADY,
    period_s: Annotated[
        float | None, typer.Option(help="Diurnal: seconds of a day (the duration).")
    ] = None,
    mix: Annotated[
        str, typer.Option(help="short, long-tail, chat, or a YAML file of kinds of requests.")
    ] = "long-tail",
    trace: Annotated[
        Path | None, typer.Option(help="Replay recorded requests instead of drawing them.")
    ] = None,
    trace_format: Annotated[TraceFormat, typer.Option(help="The trace's format.")] = (
        TraceFormat.AUTO
    ),
    time_scale: Annotated[
        float, typer.Option(help="Trace times are multiplied by this: 0.1 is ten times as fast.")
    ] = 1.0,
    limit: Annotated[int | None, typer.Option(help="Trace: at most this many requests.")] = None,
    max_prompt_tokens: Annotated[
        int | None, typer.Option(help="Longer prompts are cut to this.")
    ] = None,
    max_output_tokens: Annotated[
        int | None, typer.Option(help="Longer answers are cut to this.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Same seed, same requests.")] = 0,
    model: Annotated[
        str | None, typer.Option(help="The model's name (the server's first).")
    ] = None,
    tokenizer: Annotated[
        Path | None, typer.Option(help="The server's tokenizer.json: prompts of exact length.")
    ] = None,
    api_key: Annotated[
        str | None, typer.Option(envvar="OPENAI_API_KEY", help="Sent as a bearer token.")
    ] = None,
    max_in_flight: Annotated[
        int, typer.Option(help="More at once are not sent, and counted as client overload.")
    ] = 512,
    timeout_s: Annotated[float, typer.Option(help="A request is given up after this.")] = 120.0,
    slo_ttft_s: Annotated[float | None, typer.Option(help="SLO: first token.")] = 1.5,
    slo_gap_s: Annotated[float | None, typer.Option(help="SLO: largest gap.")] = None,
    slo_tpot_s: Annotated[float | None, typer.Option(help="SLO: mean gap.")] = None,
    slo_e2el_s: Annotated[float | None, typer.Option(help="SLO: whole request.")] = None,
    interval_s: Annotated[float, typer.Option(min=0.1, help="The series' interval.")] = 10.0,
    json_file: Annotated[
        Path | None,
        typer.Option(
            "--json", help="Also write the report here as JSON; - is the standard output."
        ),
    ] = None,
) -> None:
    """Send open-loop traffic to an OpenAI-compatible server and report what a client sees."""
    clamp = Clamp(max_prompt_tokens, max_output_tokens)
    if trace is not None:
        replay = Replay(time_scale, 1.0, duration_s, limit)
        plan = trace_plan(trace, trace_format, replay, rate, seed, clamp)
    else:
        duration_s = 60.0 if duration_s is None else duration_s
        rate = 1.0 if rate is None else rate
        drawn = Drawn(rate, duration_s, arrivals, cv, shape, period_s, mix)
        plan = drawn.plan(seed, clamp)
    options = LoadOptions(url, plan, model, seed, max_in_flight, timeout_s, tokenizer, api_key)
    slo = SLO(slo_ttft_s, slo_gap_s, slo_tpot_s, slo_e2el_s)
    run = _with_progress(options)
    report = summarise(run, slo, None if trace is not None else duration_s, interval_s)
    to_stdout = json_file == _STDOUT
    Console(stderr=to_stdout).print(report_table(report))
    if json_file is not None:
        _write_json(json_file, report, options)
    if not report.served:
        raise typer.Exit(1)


def _with_progress(options: LoadOptions) -> LoadRun:
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


def _write_json(path: Path, report: LoadReport, options: LoadOptions) -> None:
    sent: dict[str, Any] = {
        "url": options.url,
        "model": options.model,
        "seed": options.seed,
        "planned": len(options.plan),
    }
    text = json.dumps({"load": sent, **report.as_json()}, indent=1) + "\n"
    try:
        if path == _STDOUT:
            typer.echo(text, nl=False)
        else:
            path.write_text(text)
    except OSError as error:
        raise ConfigError(f"--json={str(path)!r}: can't be written: {error}") from error
