"""A capacity plan as tables on the terminal and as JSON. Knows no options."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table

from autotuner.planner.architecture import Architecture
from autotuner.planner.costing import Plan
from autotuner.planner.planning import Fit
from autotuner.planner.precision import Precision, weight_bytes


def weights_line(model: Architecture, precision: Precision) -> str:
    """What the whole model takes, in a sentence."""
    p = model.parameters
    active = model.active_parameters
    routed = f", {active / 1e9:.1f}B at work on a token" if model.experts else ""
    return (
        f"{model.name}: {_count(p.total)} parameters{routed}; at {precision.value} its weights "
        f"need {weight_bytes(p, precision) / 1e9:,.1f} GB on one device"
    )


def show_fits(console: Console, fits: Sequence[Fit], context_tokens: int) -> None:
    names = (
        "device", "type", "devices", "layout", "weights GB", "activations GB", "KV KiB/token",
        "KV tokens",
    )  # fmt: skip
    rows = [
        (
            fit.device_name,
            fit.storage.weights.value,
            str(fit.layout.devices) if fit.fits else "none",
            str(fit.layout) if fit.fits else f"not by {fit.layout}",
            f"{fit.memory.weights / 1e9:.1f}",
            f"{fit.memory.activations / 1e9:.1f}",
            f"{fit.memory.kv_per_token / 1024:.1f}",
            f"{fit.memory.kv_tokens:,}",
        )
        for fit in fits
    ]
    title = f"What holds it and one request of {context_tokens:,} tokens, a device's share each"
    _print(console, title, names, rows, spare=("activations GB", "KV KiB/token"))


def show_plans(console: Console, plans: Sequence[Plan], aim: str, years: float) -> None:
    names = (
        "device", "type", "layout", "replicas", "devices", "in SLO", "TTFT ms", "TPOT ms",
        "tokens/s", "$/M out", "kWh/M out", f"TCO {years:g} y",
    )  # fmt: skip
    rows = [
        (
            plan.device_name,
            plan.replica.storage.weights.value,
            str(plan.replica.layout),
            str(plan.expected.replicas),
            str(plan.costs.devices),
            f"{100 * (plan.played or plan.expected).attainment:.1f}%",
            f"{_ms(plan.expected.ttft_s)}–{_ms(plan.expected.ttft_long_s)}",
            _ms(plan.expected.tpot_s),
            f"{plan.expected.capacity_tokens_per_s:,.0f}",
            f"{plan.costs.per_million_tokens:.3f}",
            f"{plan.costs.kwh_per_million_tokens:.3f}",
            f"{plan.costs.total_of_ownership:,.0f}",
        )
        for plan in plans
    ]
    title = f"What serves the traffic, best by {aim} first"
    _print(console, title, names, rows, spare=("replicas", "tokens/s", "kWh/M out"))


def _print(
    console: Console,
    title: str,
    names: Sequence[str],
    rows: Sequence[Sequence[str]],
    spare: Sequence[str],
) -> None:
    """A table whose `spare` columns are left out where the terminal has no room for them.

    Nothing is cut short: half a figure is worse than none.
    """
    table = _table(title, names, rows, names)
    if _width(console, table) > console.width:
        shown = [name for name in names if name not in spare]
        table = _table(f"{title} (--json has {', '.join(spare)})", names, rows, shown)
    console.width = max(console.width, _width(console, table))
    console.print(table, crop=False)


def _width(console: Console, table: Table) -> int:
    """Columns of the terminal that the whole table takes."""
    return Measurement.get(console, console.options.update(max_width=1000), table).maximum


def _table(
    title: str, names: Sequence[str], rows: Sequence[Sequence[str]], shown: Sequence[str]
) -> Table:
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    kept = [place for place, name in enumerate(names) if name in shown]
    for place in kept:
        table.add_column(names[place], no_wrap=True, justify="left" if place < 2 else "right")
    for row in rows:
        table.add_row(*(row[place] for place in kept))
    return table


def as_dict(
    model: Architecture, fits: Sequence[Fit], plans: Sequence[Plan], context_tokens: int
) -> dict[str, Any]:
    """Everything, in bytes, seconds, shares and the table's currency."""
    return {
        "model": model.name,
        "parameters": {**asdict(model.parameters), "total": model.parameters.total},
        "active_parameters": model.active_parameters,
        "kv_numbers_per_token": model.kv_numbers_per_token,
        "decode_flops_per_token": model.decode_flops_per_token,
        "context_tokens": context_tokens,
        "fits": [_fit(model, fit) for fit in fits],
        "plans": [_plan(plan) for plan in plans],
    }


def _fit(model: Architecture, fit: Fit) -> dict[str, Any]:
    return {
        "device": fit.device_name,
        "precision": fit.storage.weights.value,
        "fits": fit.fits,
        "devices": fit.layout.devices,
        "layout": asdict(fit.layout),
        "model_weight_bytes": weight_bytes(model.parameters, fit.storage.weights),
        "memory_bytes_per_device": asdict(fit.memory),
        "source": fit.device.source,
    }


def _plan(plan: Plan) -> dict[str, Any]:
    return {
        "device": plan.device_name,
        "precision": plan.replica.storage.weights.value,
        "layout": asdict(plan.replica.layout),
        "expected": asdict(plan.expected),
        "played": None if plan.played is None else asdict(plan.played),
        "costs": asdict(plan.costs),
    }


def _count(numbers: int) -> str:
    return f"{numbers / 1e9:.2f}B" if numbers >= 1e9 else f"{numbers / 1e6:.1f}M"


def _ms(seconds: float) -> str:
    return f"{1000 * seconds:,.0f}" if seconds >= 0.01 else f"{1000 * seconds:.1f}"
