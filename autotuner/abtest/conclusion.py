"""What a test's looks amount to: the verdicts, each with its reason in plain words."""

from __future__ import annotations

import math

from autotuner.abtest.analysis import pairs_left, reachable, span_of
from autotuner.abtest.eprocess import EProcess
from autotuner.abtest.exclusion import excluded_in_a_row
from autotuner.domain.experiment import Conclusion, Experiment, Verdict

# Chosen: a gain below two points of attainment (2% of latency) is not worth a change.
WORTHWHILE = 0.02
# Chosen: what spoiled three pairs running will spoil the next one too.
_MAX_EXCLUDED_IN_A_ROW = 3


def early_conclusion(experiment: Experiment, breach: str | None) -> Conclusion | None:
    """The verdict that ends the test now, limits first; None while it goes on."""
    if breach is not None:
        return conclude(experiment, Verdict.HARMFUL, f"hard limit: {breach}")
    threshold = -math.log(experiment.plan.alpha)
    if any(look.log_e_benefit >= threshold for look in experiment.looks):
        return conclude(experiment, Verdict.ACCEPTED, "the treatment is better")
    if any(look.log_e_harm >= threshold for look in experiment.looks):
        return conclude(experiment, Verdict.HARMFUL, "the treatment is worse")
    spoiled = excluded_in_a_row(experiment)
    if len(spoiled) >= _MAX_EXCLUDED_IN_A_ROW:
        reason = f"{len(spoiled)} pairs in a row could not be counted; the last one: {spoiled[-1]}"
        return conclude(experiment, Verdict.INCONCLUSIVE, reason)
    if _futile(experiment):
        return at_budget_end(experiment, "the pairs left can't bring enough evidence of a gain")
    return None


def at_budget_end(experiment: Experiment, why: str) -> Conclusion:
    """REJECTED where a worthwhile gain is refuted, INCONCLUSIVE otherwise; `why` it ends."""
    if not experiment.pairs:
        spoiled = excluded_in_a_row(experiment)
        detail = f"; the last one: {spoiled[-1]}" if spoiled else ""
        reason = f"{why}; no pair could be counted{detail}"
        return conclude(experiment, Verdict.INCONCLUSIVE, reason)
    if experiment.looks[-1].high < WORTHWHILE:
        reason = f"{why}; a gain of {WORTHWHILE:g} or more is refuted"
        return conclude(experiment, Verdict.REJECTED, reason)
    return conclude(experiment, Verdict.INCONCLUSIVE, why)


def conclude(experiment: Experiment, verdict: Verdict, reason: str) -> Conclusion:
    """A conclusion with the figures so far, and the reason with the same figures in words.

    The confidence is that of the claim made: of harm for HARMFUL, else of benefit. Without a
    pair, the effect is NaN and the bounds hold everything possible.
    """
    if not experiment.looks:
        low, high = span_of(experiment.plan.outcome)
        return Conclusion(verdict, f"{reason} (no pair counted)", 0, math.nan, low, high, 0.0)
    look = experiment.looks[-1]
    confidence = look.confidence
    if verdict is Verdict.HARMFUL:
        mirrored = [-pair.difference for pair in experiment.pairs]
        confidence = EProcess.of(mirrored, experiment.plan.prior_sd).confidence
    claim = "worse" if verdict is Verdict.HARMFUL else "better"
    pairs = "1 pair" if look.pairs == 1 else f"{look.pairs} pairs"
    text = (
        f"{reason} ({pairs}: {_NAMES[experiment.plan.outcome]} {look.effect:+.3f}, at least "
        f"{look.low:+.3f} and at most {look.high:+.3f}, each bound at "
        f"{1 - experiment.plan.alpha:.0%}; confidence that it is {claim}: {percent(confidence)})"
    )
    return Conclusion(verdict, text, look.pairs, look.effect, look.low, look.high, confidence)


def percent(confidence: float) -> str:
    """A confidence in words, rounded down, so that it never claims more than 1 − p: no 100%."""
    tenths = math.floor(confidence * 1000) / 10
    return f"{tenths:.1f}%" if confidence <= 0.999 else "above 99.9%"


def _futile(experiment: Experiment) -> bool:
    """Whether acceptance is out of reach, and rejection or harm shown already or out of reach too.

    While only those two are within reach the test goes on: they are what the next proposal learns.
    """
    left, plan = pairs_left(experiment), experiment.plan
    seen = [pair.difference for pair in experiment.pairs]
    if left == 0 or reachable(seen, left, plan):
        return False  # with nothing left, the budget's end speaks for itself
    rejected = bool(experiment.looks) and experiment.looks[-1].high < WORTHWHILE
    return rejected or not reachable([WORTHWHILE - d for d in seen], left, plan)


_NAMES = {"attainment": "attainment", "e2el": "log gain in whole-request time"}
