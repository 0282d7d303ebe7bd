"""A plan's picture: cost, energy and devices of what serves the traffic; or memory where none."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from autotuner.domain.errors import ConfigError
from autotuner.planner.costing import Plan
from autotuner.planner.planning import Fit

_WEIGHTS, _OTHER, _KV = "#4d4d4d", "#c9c9c9", "#2a78b5"


def draw(title: str, fits: Sequence[Fit], plans: Sequence[Plan], path: Path) -> None:
    """Writes `path`, in the format of its suffix. Raises ConfigError where it can't be written."""
    rows = max(len(fits), len(plans), 4)
    columns = 4 if plans else 1
    figure = Figure(figsize=(3.6 * columns + 2, 1.2 + 0.32 * rows), layout="constrained")
    axes = figure.subplots(1, columns, squeeze=False)[0]
    names = [f"{fit.device_name}, {fit.storage.weights}, {fit.layout.devices}×" for fit in fits]
    left = [0.0] * len(fits)
    other = [fit.memory.activations + fit.memory.overhead for fit in fits]
    parts = (
        ("weights", _WEIGHTS, [fit.memory.weights for fit in fits]),
        ("activations and overhead", _OTHER, other),
        ("left for KV", _KV, [max(fit.memory.kv_room, 0.0) for fit in fits]),
    )  # fmt: skip
    for label, colour, values in parts:
        shown = [value / 1e9 for value in values]
        axes[0].barh(names, shown, left=left, color=colour, label=label)
        left = [a + b for a, b in zip(left, shown, strict=True)]
    axes[0].invert_yaxis()
    axes[0].set_title("Memory of a device, GB", loc="left")
    axes[0].legend(frameon=False, fontsize=8)
    labels = [f"{p.device_name}, {p.replica.storage.weights}, {p.replica.layout}" for p in plans]
    told = (
        ("$ per million output tokens", [plan.costs.per_million_tokens for plan in plans]),
        ("kWh per million output tokens", [plan.costs.kwh_per_million_tokens for plan in plans]),
        ("Devices", [float(plan.costs.devices) for plan in plans]),
    )
    for axis, (name, values) in zip(axes[1:], told, strict=False):
        bars = axis.barh(labels, values, color=_KV)
        axis.bar_label(bars, fmt="{:.3g}", padding=3, fontsize=8)
        axis.invert_yaxis()
        axis.margins(x=0.25)
        axis.set_title(name, loc="left")
    figure.suptitle(title, x=0.01, ha="left")
    try:
        figure.savefig(path, dpi=120)
    except (OSError, ValueError) as error:
        raise ConfigError(f"figure={str(path)!r}: can't be written: {error}") from error
