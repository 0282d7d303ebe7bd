"""How a measure's figures are told to people: as points or per cent; never what they mean."""

from __future__ import annotations

import math

from autotuner.abtest import wording
from autotuner.domain.measures import Link, Measure

NOT_KNOWN = "not known"


def gain(measure: Measure, difference: float) -> float:
    """A pair's difference as people read it: points of a share, or % of the control's value.

    Positive is better. Of a measure that should fall it is the cut: 20 means 20% lower.
    Infinities stay infinite where the scale has no end.
    """
    if measure.link is Link.DIFFERENCE:
        return 100 * difference if measure.unit == "share" else difference
    if measure.higher_is_better:
        return 100 * _expm1(difference)
    return -100 * _expm1(-difference)


def gain_unit(measure: Measure) -> str:
    """What `gain` counts."""
    if measure.link is Link.LOG_RATIO:
        return "%"
    return "points" if measure.unit == "share" else measure.unit


def gain_text(measure: Measure, difference: float) -> str:
    """Such as `+12.3 points` or `−4.0%`; plus is better."""
    if not math.isfinite(difference):
        return NOT_KNOWN
    return f"{_signed(gain(measure, difference))}{_unit_text(measure)}"


def change_text(measure: Measure, difference: float) -> str:
    """What became of the measure itself, such as `rose by 12.3 points` or `fell by 4.0%`."""
    raw = difference if measure.higher_is_better else -difference
    moved = 100 * _expm1(raw) if measure.link is Link.LOG_RATIO else gain(measure, difference)
    size = rounded(abs(moved))
    if float(size) == 0:
        return "did not change"
    return f"{'rose' if raw > 0 else 'fell'} by {size}{_unit_text(measure)}"


def size_text(measure: Measure, size: float) -> str:
    """How wide differences scatter, such as `11.2 points` or `8%`; no sign."""
    return wording.size(measure, size)


def margin_text(measure: Measure, margin: float) -> str:
    """A guardrail's margin as it was declared, such as `2 points` or `25%`."""
    return wording.size(measure, margin)


def level_text(alpha: float) -> str:
    """1 − `alpha` in per cent, such as `95%`."""
    return wording.level(alpha)


def value_text(measure: Measure, value: float) -> str:
    """A slot's value with its unit; a dash where it was not measured."""
    if not math.isfinite(value):
        return "–"
    if measure.unit == "share":
        return f"{rounded(100 * value)}%"
    return f"{value:.3g} {measure.unit}"


def rounded(value: float) -> str:
    """One decimal; two significant digits below 1; 0 where nothing is left of it."""
    size = abs(value)
    if size >= 1:
        return f"{value:.1f}"
    return f"{value:.2g}" if size >= 0.005 else "0.0"


def share_text(part: float, whole: float) -> str:
    """A share in per cent; `no requests` of nothing."""
    return f"{100 * part / whole:.1f}%" if whole else "no requests"


def length_text(seconds: float) -> str:
    """A length of time in words."""
    if not math.isfinite(seconds):
        return NOT_KNOWN
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


def count_text(count: int, noun: str) -> str:
    """Such as `1 pair`, `7 pairs`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _unit_text(measure: Measure) -> str:
    unit = gain_unit(measure)
    return "%" if unit == "%" else f" {unit}"


def _signed(value: float) -> str:
    text = rounded(abs(value))
    if float(text) == 0:
        return "0.0"
    return f"{'+' if value > 0 else '−'}{text}"


def _expm1(value: float) -> float:
    try:
        return math.expm1(value)
    except OverflowError:
        return math.inf
