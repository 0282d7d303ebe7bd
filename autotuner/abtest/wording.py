"""A test's figures in plain words, each with its unit; never what follows from them."""

from __future__ import annotations

import math
from collections.abc import Sequence

from autotuner.abtest.outcome import Toll
from autotuner.domain.experiment import Guardrail, Look
from autotuner.domain.measures import Link, Measure, measure

_MUCH = 10.0  # chosen: from ten times as much on, per cents read badly


def change(by: Measure, difference: float) -> str:
    """What became of the value itself, such as `+12.3 points`, `-4.0%` or `27 times as much`."""
    raw = difference if by.higher_is_better else -difference
    if by.link is Link.DIFFERENCE:
        return f"{100 * raw:+.1f} points" if by.unit == "share" else f"{raw:+.3g} {by.unit}"
    ratio = math.exp(min(raw, 700.0))
    return f"{ratio:.3g} times as much" if ratio >= _MUCH else f"{100 * (ratio - 1):+.1f}%"


def effect(by: Measure, look: Look, alpha: float) -> str:
    """The effect with its bounds, such as `attainment +8.2 points, at least … and at most …`."""
    floor, ceiling = by.span
    low = change(by, look.low) if look.low > floor else None
    high = change(by, look.high) if look.high < ceiling else None
    least, most = (low, high) if by.higher_is_better else (high, low)
    known = [f"{word} {bound}" for word, bound in (("at least", least), ("at most", most)) if bound]
    text = f"{by.words} {change(by, look.effect)}"
    if not known:
        return f"{text}, with no bound yet"
    each = "each bound" if len(known) == 2 else "a bound"
    return f"{text}, {' and '.join(known)}, {each} at {level(alpha)}"


def margin(rail: Guardrail) -> str:
    """A guardrail's margin, such as `2 points` or `10%`."""
    return size(measure(rail.measure), rail.margin)


def size(by: Measure, amount: float) -> str:
    """An amount of change without a sign, such as `2 points` of a share or `2%` of a ratio."""
    if by.link is Link.LOG_RATIO:
        return f"{100 * amount:.3g}%"
    return f"{100 * amount:.3g} points" if by.unit == "share" else f"{amount:g} {by.unit}"


def misses(treatment: Toll, control: Toll) -> str:
    """The share of requests that missed the SLO under the treatment, beside the control's."""
    if not treatment.requests:
        return ""
    text = f"under the treatment {_share(treatment)} missed the SLO"
    return f"{text}, under the control {_share(control)}" if control.requests else text


def names(rails: Sequence[Guardrail]) -> str:
    """The guardrails by their measures' words."""
    return ", ".join(measure(rail.measure).words for rail in rails)


def level(alpha: float) -> str:
    """1 − alpha in per cent, with as many digits as it takes not to read 100%."""
    return f"{100 * (1 - alpha):.{max(4, 3 - math.floor(math.log10(alpha)))}g}%"


def percent(confidence: float) -> str:
    """A confidence in words, rounded down, so that it never claims more than 1 − p: no 100%."""
    tenths = math.floor(confidence * 1000) / 10
    return f"{tenths:.1f}%" if confidence <= 0.999 else "above 99.9%"


def _share(toll: Toll) -> str:
    noun = "request" if toll.requests == 1 else "requests"
    return f"{toll.missed} of {toll.requests} {noun} ({toll.share:.1%})"
