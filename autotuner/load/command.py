"""The command `autotuner load`: its options, which say little of what is imported for a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from autotuner.domain.slo import SLO
from autotuner.load.kinds import Process, Shape, TraceFormat


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
    from rich.console import Console

    from autotuner.load.asked import STDOUT, Drawn, trace_plan, with_progress, write_json
    from autotuner.load.plan import Clamp, Replay
    from autotuner.load.report import summarise
    from autotuner.load.runner import LoadOptions
    from autotuner.load.table import report_table

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
    run = with_progress(options)
    report = summarise(run, slo, None if trace is not None else duration_s, interval_s)
    to_stdout = json_file == STDOUT
    Console(stderr=to_stdout).print(report_table(report))
    if json_file is not None:
        write_json(json_file, report, options)
    if not report.served:
        raise typer.Exit(1)
