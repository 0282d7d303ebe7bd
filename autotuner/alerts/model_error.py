"""How far the agent's model is off of late, and the alert that says so. Pure."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from autotuner.alerts.conditions import Builtin, Condition
from autotuner.domain.learning import ModelCheck

WATCHED = ("ttft_s", "tpot_s", "goodput")
SPAN_S = 3600.0
LEAST_CHECKS = 4  # of a figure within the span; with fewer nothing is said; chosen
OFF, WELL = 0.3, 0.2
_WORDS = {"ttft_s": "time to first token", "tpot_s": "time per output token"}


@dataclass(frozen=True)
class ModelError:
    """The median relative error (0.3 is 30%) of a figure over the last hour, with its medians."""

    median: float
    predicted: float
    measured: float
    checks: int


def model_errors(checks: Sequence[ModelCheck], now: float) -> Mapping[str, ModelError]:
    """By figure, from the checks of the last hour; a figure with few checks is absent."""
    by_figure: dict[str, list[ModelCheck]] = {}
    for one in checks:
        if now - SPAN_S <= one.at <= now and math.isfinite(one.error):
            by_figure.setdefault(one.figure, []).append(one)
    return {
        figure: ModelError(
            statistics.median(c.error for c in found),
            statistics.median(c.predicted for c in found),
            statistics.median(c.measured for c in found),
            len(found),
        )
        for figure, found in by_figure.items()
        if len(found) >= LEAST_CHECKS
    }


def model_off(errors: Mapping[str, ModelError]) -> Condition:
    """Off above 30% for any watched figure, well below 20% for all; nothing is said of none."""
    known = {figure: errors[figure] for figure in WATCHED if figure in errors}
    if not known:
        return Condition(Builtin.MODEL_OFF, None, "")
    worst = max(known, key=lambda figure: known[figure].median)
    error = known[worst].median
    active = True if error > OFF else False if error < WELL else None
    return Condition(Builtin.MODEL_OFF, active, _sentence(worst, known[worst]))


def _sentence(figure: str, error: ModelError) -> str:
    unit = " requests/s" if figure == "goodput" else " s"
    return (
        f"the agent's model is off by {error.median:.0%} on {_WORDS.get(figure, figure)} (median "
        f"of {error.checks} checks in the last hour): it predicts {error.predicted:.3g}{unit}, "
        f"measured is {error.measured:.3g}{unit}"
    )
