"""The panels of a report, as one picture or one by one for the page."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure, FigureBase

from autotuner.domain.experiment import Experiment
from autotuner.report.canvas import FONT_PT, drawing, folded
from autotuner.report.evidence_panels import (
    confidence_panel,
    differences_panel,
    guardrails_panel,
    power_panel,
)
from autotuner.report.timeline import slots_panel
from autotuner.report.words import changes_text, words

_WIDE_IN, _NARROW_IN, _EMPTY_IN = 9.0, 4.0, 1.0
_DPI = 110


@dataclass(frozen=True)
class Panel:
    """One drawing. `draw(area, experiment, narrow)`; `height_in` of a wide one."""

    name: str
    draw: Callable[[FigureBase, Experiment, bool], None]
    height_in: float


def panels(experiment: Experiment) -> tuple[Panel, ...]:
    """In the order of reading; heights fit what there is to show."""
    lanes, rails = experiment.plan.design.lanes, len(experiment.plan.guardrails)
    slots_in = 3.4 + 0.3 * lanes if experiment.slots else 2 * _EMPTY_IN
    looks_in = 3.2 if experiment.looks else _EMPTY_IN
    return (
        Panel("slots", slots_panel, slots_in),
        Panel("differences", differences_panel, looks_in),
        Panel("confidence", confidence_panel, looks_in),
        Panel("guardrails", guardrails_panel, 1.3 + 0.55 * rails if rails else _EMPTY_IN),
        Panel("power", power_panel, 3.0),
    )


def draw_figure(experiment: Experiment, path: Path) -> None:
    """Writes all panels below each other as PNG."""
    shown = panels(experiment)
    with drawing():
        height_in = sum(panel.height_in for panel in shown)
        figure = Figure(figsize=(_WIDE_IN, height_in + 0.6), layout="constrained")
        title = f"{words(experiment, None).headline} · {experiment.target}: " + changes_text(
            experiment
        )
        figure.suptitle(
            folded(title, narrow=False, lines=2),
            x=0.01, ha="left", fontsize=FONT_PT + 2, weight="bold",
        )  # fmt: skip
        heights = [panel.height_in for panel in shown]
        areas = figure.subfigures(len(shown), 1, squeeze=False, height_ratios=heights)
        for area, panel in zip(areas[:, 0], shown, strict=True):
            panel.draw(area, experiment, False)
        figure.savefig(path, dpi=_DPI)


def panel_svg(panel: Panel, experiment: Experiment, *, narrow: bool) -> str:
    """One panel as matplotlib's SVG, without a background."""
    with drawing():
        width, extra = (_NARROW_IN, 0.5) if narrow else (_WIDE_IN, 0.0)
        figure = Figure(figsize=(width, panel.height_in + extra), layout="constrained")
        panel.draw(figure, experiment, narrow)
        text = io.StringIO()
        figure.savefig(text, format="svg", transparent=True)
    return text.getvalue()
