"""A capacity plan as tables on the terminal and as JSON. Knows no options."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Console
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
    table = Table(
        "device", "weights in", "fewest", "layout", "weights", "activations", "KV/token",
        "KV tokens", title=f"What holds it and one request of {context_tokens:,} tokens",
        title_justify="left",
    )  # fmt: skip
    for fit in fits:
        memory = fit.memory
        table.add_row(
            fit.device_name,
            fit.storage.weights.value,
            str(fit.layout.devices) if fit.fits else "none",
            str(fit.layout) if fit.fits else f"not by {fit.layout}",
            f"{memory.weights / 1e9:.1f} GB",
            f"{memory.activations / 1e9:.1f} GB",
            f"{memory.kv_per_token / 1024:.1f} KiB",
            f"{memory.kv_tokens:,}",
        )
    console.print(table)


def show_plans(console: Console, plans: Sequence[Plan], aim: str, years: float) -> None:
    table = Table(
        "device", "weights in", "layout", "replicas", "devices", "in SLO", "TTFT", "TPOT",
        "tokens/s", "$/M out", "kWh/M out", f"TCO {years:g} y",
        title=f"What serves the traffic, best by {aim} first", title_justify="left",
    )  # fmt: skip
    for plan in plans:
        found, costs = plan.expected, plan.costs
        table.add_row(
            plan.device_name,
            plan.replica.storage.weights.value,
            str(plan.replica.layout),
            str(found.replicas),
            str(costs.devices),
            f"{100 * found.attainment:.1f}%",
            f"{_ms(found.ttft_s)}–{_ms(found.ttft_long_s)} ms",
            f"{_ms(found.tpot_s)} ms",
            f"{found.capacity_tokens_per_s:,.0f}",
            f"{costs.per_million_tokens:.3f}",
            f"{costs.kwh_per_million_tokens:.3f}",
            f"{costs.total_of_ownership:,.0f}",
        )
    console.print(table)


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
        "costs": asdict(plan.costs),
    }


def _count(numbers: int) -> str:
    return f"{numbers / 1e9:.2f}B" if numbers >= 1e9 else f"{numbers / 1e6:.1f}M"


def _ms(seconds: float) -> str:
    return f"{1000 * seconds:,.0f}" if seconds >= 0.01 else f"{1000 * seconds:.1f}"
