"""The panels of evidence: pair differences, confidence over looks, guardrails, power."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import FigureBase

from autotuner.abtest.standing import Standing
from autotuner.domain.experiment import Experiment, Look
from autotuner.domain.measures import Measure, measure
from autotuner.report.canvas import (
    SMALL_PT,
    confidence_axis,
    counted_axis,
    folded,
    nines,
    note,
    nothing_yet,
    plain_log_ticks,
    titled,
)
from autotuner.report.facts import (
    GuardrailFact,
    Power,
    guardrail_facts,
    harm_confidences,
    kept_confidences,
    power,
)
from autotuner.report.numbers import (
    count_text,
    gain,
    gain_text,
    gain_unit,
    level_text,
    margin_text,
    size_text,
)
from autotuner.report.palette import BAD, FAINT, GOOD, INK, MUTED, PAPER, TREATMENT

_NO_PAIR = "no pair has been counted"
_STANDING_COLOUR = {
    Standing.KEPT: GOOD,
    Standing.BROKEN: BAD,
    Standing.UNPROVEN: MUTED,
    Standing.UNMEASURED: MUTED,
}
_KEPT_STYLES = ((0, (1, 1)), (0, (4, 1.5)), (0, (4, 1, 1, 1)), (0, (7, 2)))
_MOST_LARGE = 80  # marks that stand apart at full size
_MOST_MARGINS = 4.0  # beyond so many margins on a side an interval is cut, with an arrow


def differences_panel(area: FigureBase, test: Experiment, narrow: bool) -> None:
    """Each pair's difference, their running mean and its bounds after each look."""
    axis, outcome = area.subplots(), measure(test.plan.outcome)
    title = f"Pair differences of {outcome.words}: treatment against control, + is better"
    titled(axis, title, narrow)
    if not test.pairs:
        nothing_yet(axis, _NO_PAIR)
        return
    at = range(1, len(test.pairs) + 1)
    seen = [gain(outcome, pair.adjusted) for pair in test.pairs]
    low, high = _around(seen, outcome, test.looks[-1])
    _band(axis, test.looks, outcome, (low, high))
    if any(pair.adjustment for pair in test.pairs):
        raw = [gain(outcome, pair.difference) for pair in test.pairs]
        axis.plot(at, raw, "x", color=MUTED, ms=4, label="before covariates were taken out")
    axis.plot(at, seen, "o", color=INK, ms=_mark(seen), label="a pair")
    means = [gain(outcome, look.effect) for look in test.looks]
    axis.plot([k.pairs for k in test.looks], means, color=TREATMENT, lw=2, label="running mean")
    axis.axhline(0, color=MUTED, lw=1)
    axis.set_ylim(low, high)
    axis.set_ylabel(gain_unit(outcome))
    counted_axis(axis, len(test.pairs))
    axis.legend(loc="upper center", bbox_to_anchor=(0.5, -0.22), ncols=2 if narrow else 4)


def confidence_panel(area: FigureBase, test: Experiment, narrow: bool) -> None:
    """The confidence of each claim after each look, and the line from which it is accepted."""
    axis, level = area.subplots(), 1 - test.plan.alpha
    titled(axis, "Confidence after each look (valid at all of them)", narrow)
    if not test.looks:
        nothing_yet(axis, _NO_PAIR)
        return
    at = [look.pairs for look in test.looks]
    better = [look.confidence for look in test.looks]
    worse = harm_confidences(test.looks)
    axis.plot(
        at, [nines(c) for c in better], "o-", color=TREATMENT, ms=_mark(at), label="it is better"
    )
    axis.plot(
        at,
        [nines(c) for c in worse],
        "s-",
        color=BAD,
        ms=0.75 * _mark(at),
        lw=1,
        label="it is worse",
    )
    for number in range(len(test.plan.guardrails)):
        _kept_line(axis, test, at, number)
    axis.axhline(nines(level), color=INK, lw=1, ls="--")
    note(
        axis, f"needed: {level_text(test.plan.alpha)}", 0.005, nines(level) + 0.03,
        transform=axis.get_yaxis_transform(), va="bottom",
    )  # fmt: skip
    confidence_axis(axis, max([*better, *worse, level]))
    counted_axis(axis, len(test.pairs))
    axis.legend(loc="upper center", bbox_to_anchor=(0.5, -0.22), ncols=1 if narrow else 3)


def guardrails_panel(area: FigureBase, test: Experiment, narrow: bool) -> None:
    """Each guardrail's effect with its bounds, in margins: left of −1 is worse than allowed."""
    axis, facts = area.subplots(), guardrail_facts(test)
    titled(axis, "Guardrails: effect and bounds, in margins", narrow)
    if not facts:
        nothing_yet(axis, "the plan has no guardrail")
        return
    left, right = _margin_limits(facts)
    axis.axvspan(left, -1, color=BAD, alpha=0.12, lw=0)
    for row, fact in enumerate(facts):
        _guardrail(axis, row, fact, (left, right), narrow)
    axis.set_xlim(left, right)
    axis.set_ylim(len(facts) - 0.4, -0.85)
    axis.set_yticks([])
    axis.spines["left"].set_visible(False)
    axis.set_xlabel("−1: worse by the margin · 0: no change · plus: better")


def power_panel(area: FigureBase, test: Experiment, narrow: bool) -> None:
    """Pairs needed by effect, given the noise; where this test stands on it."""
    axis, outcome, found = area.subplots(), measure(test.plan.outcome), power(test)
    noise = size_text(outcome, found.sd)
    source = "seen" if found.seen else "expected"
    titled(axis, f"Power: pairs needed at the pair noise {source} ({noise})", narrow)
    drawn = [(gain(outcome, effect), pairs) for effect, pairs in found.points]
    if not drawn:
        nothing_yet(axis, "the noise is larger than any effect can be")
        return
    axis.loglog(*zip(*drawn, strict=True), color=INK, lw=1.5)
    axis.axhline(found.budget_pairs, color=MUTED, lw=1, ls="--")
    note(
        axis, f"budget: {count_text(found.budget_pairs, 'pair')}", 0.01, found.budget_pairs,
        transform=axis.get_yaxis_transform(), va="bottom",
    )  # fmt: skip
    _where_it_stands(axis, test, outcome, found)
    axis.set_xlabel(f"true effect, {gain_unit(outcome)}")
    axis.set_ylabel("pairs")
    plain_log_ticks(axis, "x")
    plain_log_ticks(axis, "y")


def _mark(marks: Sequence[float]) -> float:
    """The size of a mark, so that many of them still stand apart."""
    return 4.0 if len(marks) <= _MOST_LARGE else 2.0


def _band(axis: Axes, looks: Sequence[Look], outcome: Measure, limits: tuple[float, float]) -> None:
    """The bounds, cut a little outside the limits where they are far away or have no end."""
    room = limits[1] - limits[0]
    edges = (limits[0] - room, limits[1] + room)
    low = np.clip([gain(outcome, look.low) for look in looks], *edges)
    high = np.clip([gain(outcome, look.high) for look in looks], *edges)
    at = [look.pairs for look in looks]
    axis.fill_between(at, low, high, color=TREATMENT, alpha=0.18, lw=0, label="its bounds")
    for edge in (low, high):
        axis.plot(at, edge, color=TREATMENT, lw=0.8)


def _around(seen: Sequence[float], outcome: Measure, last: Look) -> tuple[float, float]:
    """Limits that hold the pairs, zero, and the last bounds where these are not far off."""
    low, high = min(0.0, *seen), max(0.0, *seen)
    room = max(high - low, 1e-6)
    low = min(low, max(gain(outcome, last.low), low - room))
    high = max(high, min(gain(outcome, last.high), high + room))
    return low - 0.08 * (high - low), high + 0.08 * (high - low)


def _kept_line(axis: Axes, test: Experiment, at: Sequence[int], number: int) -> None:
    name = test.plan.guardrails[number].measure
    kept = kept_confidences(test.looks, name)
    style = _KEPT_STYLES[number % len(_KEPT_STYLES)]
    label = f"kept: {measure(name).words}"
    axis.plot(at, [nines(c) for c in kept], color=GOOD, lw=1.2, ls=style, label=label)


def _margin_limits(facts: Sequence[GuardrailFact]) -> tuple[float, float]:
    ends = [-1.6, 1.2]
    for fact in facts:
        if fact.look is not None and fact.shift > 0:
            ends += [value / fact.shift for value in (fact.look.low, fact.look.high)]
    known = [max(-_MOST_MARGINS, min(_MOST_MARGINS, end)) for end in ends if not math.isnan(end)]
    return min(known) - 0.1, max(known) + 0.1


def _guardrail(
    axis: Axes, row: int, fact: GuardrailFact, limits: tuple[float, float], narrow: bool
) -> None:
    look, colour = fact.look, _STANDING_COLOUR[fact.standing]
    margin = margin_text(fact.measure, fact.guardrail.margin)
    effect = "" if look is None or not look.pairs else f"{gain_text(fact.measure, look.effect)}, "
    text = f"{fact.measure.words}: {effect}{fact.standing.value} (margin {margin})"
    where = {"transform": axis.get_yaxis_transform(), "va": "bottom", "color": INK}
    note(axis, folded(text, narrow, lines=2), 0.01, row - 0.22, **where)
    for place, line in ((-1, BAD), (0, MUTED)):  # not through the words
        axis.plot([place, place], [row - 0.18, row + 0.25], color=line, lw=1)
    if look is None or not math.isfinite(look.effect) or fact.shift <= 0:
        return
    low, high = (max(limits[0], min(limits[1], v / fact.shift)) for v in (look.low, look.high))
    axis.plot([low, high], [row, row], color=colour, lw=2.2)
    for end, mark in ((low, "<"), (high, ">")):
        cut = end in limits
        axis.plot(end, row, mark if cut else "|", color=colour, ms=6 if cut else 8)
    axis.plot(
        max(limits[0], min(limits[1], look.effect / fact.shift)), row, "o",
        color=colour, ms=6, mec=PAPER,
    )  # fmt: skip


def _where_it_stands(axis: Axes, test: Experiment, outcome: Measure, found: Power) -> None:
    if not test.looks:
        return
    look = test.looks[-1]
    shown = gain(outcome, abs(look.effect))
    least, most = (gain(outcome, found.points[end][0]) for end in (0, -1))
    if not shown > 0:
        return
    at = min(max(shown, least), most)
    beyond = "" if at == shown else (" (further left)" if shown < least else " (further right)")
    text = f"this test: {count_text(look.pairs, 'pair')}, {gain_text(outcome, look.effect)}{beyond}"
    axis.plot(at, look.pairs, "D", color=TREATMENT if look.effect > 0 else BAD, ms=7, mec=PAPER)
    left = at < math.sqrt(least * most)
    axis.annotate(
        text, (at, look.pairs), xytext=(9 if left else -9, 0), textcoords="offset points",
        ha="left" if left else "right", va="center", fontsize=SMALL_PT,
        bbox={"fc": PAPER, "ec": FAINT, "lw": 0.6, "pad": 2},
    )  # fmt: skip
