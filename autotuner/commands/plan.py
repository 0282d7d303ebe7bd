"""`autotuner plan`: which hardware a model needs, what it would do there and what it would cost."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from autotuner.commands.output import JsonOption, print_json
from autotuner.domain.errors import ConfigError

if TYPE_CHECKING:
    from autotuner.planner.demand import Demand
    from autotuner.planner.hardware import Device
    from autotuner.planner.precision import Precision

_DEFAULT_CONTEXT = 8192  # chosen: without --context, of a model that was made for as much


def plan(
    model: Annotated[
        str, typer.Argument(help="A model's folder, its config.json, or a well-known name.")
    ],
    gpu: Annotated[
        list[str] | None, typer.Option(help="Only this device; may be given several times.")
    ] = None,
    precision: Annotated[
        list[str] | None,
        typer.Option(help="fp32, bf16, fp16, fp8, int8 or int4; may be given several times."),
    ] = None,
    kv: Annotated[
        str | None, typer.Option(help="Type of the KV cache: fp32, bf16, fp16 or fp8.")
    ] = None,
    context: Annotated[
        int | None, typer.Option(min=1, help="The longest request that must fit, in tokens.")
    ] = None,
    memory_share: Annotated[
        float, typer.Option(min=0.1, max=1.0, help="The share of a device's memory to use.")
    ] = 0.9,
    rate: Annotated[float | None, typer.Option(help="Requests per second at the peak.")] = None,
    prompt: Annotated[float, typer.Option(help="Mean prompt, in tokens.")] = 1000,
    output: Annotated[float, typer.Option(help="Mean answer, in tokens.")] = 300,
    trace: Annotated[
        Path | None,
        typer.Option(help="Recorded traffic (Azure CSV, Mooncake); sized for its busiest minute."),
    ] = None,
    ttft: Annotated[float, typer.Option(help="Target for the first token, in seconds.")] = 2.0,
    gap: Annotated[float, typer.Option(help="Target for the largest gap, in seconds.")] = 0.2,
    attainment: Annotated[
        float, typer.Option(min=0.01, max=0.999, help="Share of requests to meet both.")
    ] = 0.95,
    goal: Annotated[
        str, typer.Option(help="What is best: cost, energy, devices or latency.")
    ] = "cost",
    owned: Annotated[
        bool, typer.Option("--owned", help="Bought devices, not rented ones.")
    ] = False,
    years: Annotated[float, typer.Option(min=0.1, help="Years of ownership.")] = 3.0,
    pue: Annotated[float, typer.Option(min=1.0, help="The site's energy over the devices'.")] = 1.3,
    energy_price: Annotated[float, typer.Option(min=0.0, help="Price of a kWh.")] = 0.12,
    hardware: Annotated[
        str | None, typer.Option(help="A table of your own, or `this`: measure this machine.")
    ] = None,
    figure: Annotated[Path | None, typer.Option(help="Draw it here (PNG, SVG, PDF).")] = None,
    as_json: JsonOption = False,
) -> None:
    """Say what memory a model needs, which devices hold it, and what its traffic takes and costs.

    Without --rate or --trace: memory alone. Prices in the shipped table are examples.
    """
    from autotuner.commands.plan_view import as_dict, show_fits, show_plans, weights_line
    from autotuner.planner.costing import Aim, Terms
    from autotuner.planner.memory import Storage
    from autotuner.planner.planning import fits_of, plans_of
    from autotuner.planner.precision import Precision
    from autotuner.planner.reading import read_model
    from autotuner.resources import resource_folder

    tables = resource_folder("policies") / "tables"
    architecture = read_model(model, tables)
    aim = Aim(_one_of("goal", goal, [one.value for one in Aim]))
    cache = None if kv is None else Precision(_one_of("kv", kv, ["fp32", "bf16", "fp16", "fp8"]))
    names = [one.value for one in Precision]
    asked = [Precision(_one_of("precision", one, names)) for one in precision or ()]
    demand = _demand(rate, prompt, output, trace, ttft, gap, attainment)
    devices, usual = _devices(hardware, gpu or [], tables)
    precisions = asked or [usual]
    needed = context or min(architecture.context_tokens, _DEFAULT_CONTEXT)
    if demand is not None:
        needed = max(needed, demand.longest_tokens)
    storage = Storage(cache=cache, memory_share=memory_share)
    fits = fits_of(architecture, devices, precisions, storage, needed)
    terms = Terms(owned, years, pue, energy_price)
    plans = [] if demand is None else plans_of(
        architecture, devices, precisions, storage, needed, demand, aim, terms
    )  # fmt: skip
    if figure is not None:
        from autotuner.planner.figure import draw

        draw(weights_line(architecture, precisions[0]), fits, plans, figure)
    if as_json:
        print_json(as_dict(architecture, fits, plans, needed))
        return
    from rich.console import Console

    console = Console()
    for one in precisions:
        typer.echo(weights_line(architecture, one))
    show_fits(console, fits, needed)
    if demand is not None:
        _show_served(plans, demand, lambda: show_plans(console, plans, aim.value, years))


def _show_served(plans: Sequence[object], demand: Demand, show: Callable[[], None]) -> None:
    if not plans:
        typer.echo("nothing serves the traffic within its SLO: ask for less, or other devices")
        return
    typer.echo(
        f"traffic: {demand.peak_rps:.3g} requests/s at the peak, {demand.mean_rps:.3g} on average, "
        f"{demand.mean_prompt_tokens:,.0f} tokens in and {demand.mean_output_tokens:,.0f} out; "
        f"{100 * demand.attainment:g}% within {demand.slo.describe()}"
    )
    show()
    typer.echo("prices in the shipped table are examples: give your own by --hardware FILE")


def _demand(
    rate: float | None,
    prompt: float,
    output: float,
    trace: Path | None,
    ttft: float,
    gap: float,
    attainment: float,
) -> Demand | None:
    from autotuner.domain.slo import SLO
    from autotuner.load.traces import read_trace
    from autotuner.planner.demand import steady_demand, trace_demand

    for name, value in (("ttft", ttft), ("gap", gap)):
        if not value > 0:
            raise ConfigError(f"{name}={value}: give seconds above 0")
    slo = SLO(ttft_s=ttft, gap_max_s=gap)
    if trace is not None:
        return trace_demand(read_trace(trace), slo, attainment, rate)
    return None if rate is None else steady_demand(rate, prompt, output, slo, attainment)


def _devices(
    hardware: str | None, names: list[str], tables: Path
) -> tuple[dict[str, Device], Precision]:
    """The devices asked for, and the type of weights that is usual on them."""
    from autotuner.planner.hardware import HARDWARE_FILE, chosen, read_hardware
    from autotuner.planner.precision import Precision
    from autotuner.planner.this_machine import NAME, device_of, measured

    if hardware == NAME:
        speed = measured()
        here = {NAME: device_of(speed)}
        if not names:
            return here, speed.precision
        return here | chosen(read_hardware(tables / HARDWARE_FILE), names), speed.precision
    table = tables / HARDWARE_FILE if hardware is None else Path(hardware)
    return chosen(read_hardware(table), names), Precision.BF16


def _one_of(name: str, word: str, known: list[str]) -> str:
    if word not in known:
        raise ConfigError(f"{name}={word!r}: give one of {', '.join(known)}")
    return word
