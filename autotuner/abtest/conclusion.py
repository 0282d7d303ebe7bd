"""What a test's looks amount to: the verdicts, each with its reason in plain words."""

from __future__ import annotations

import math
from dataclasses import dataclass

from autotuner.abtest import wording
from autotuner.abtest.analysis import evidence, pairs_left
from autotuner.abtest.evidence import WORTHWHILE
from autotuner.abtest.exclusion import excluded_in_a_row
from autotuner.abtest.outcome import toll
from autotuner.abtest.standing import Standing, looks_at, standing, watched
from autotuner.abtest.wording import percent
from autotuner.domain.experiment import Arm, Conclusion, Experiment, Guardrail, Verdict
from autotuner.domain.measures import measure

__all__ = ["at_budget_end", "conclude", "early_conclusion", "percent"]

# Chosen: what spoiled three pairs running will spoil the next one too.
_MAX_EXCLUDED_IN_A_ROW = 3


@dataclass(frozen=True)
class _Standing:
    """What the looks so far have shown, each at its level and for good once it was shown."""

    better: bool
    worse: bool
    open_rails: tuple[Guardrail, ...]  # not shown to be kept
    broken_rails: tuple[Guardrail, ...]


def early_conclusion(experiment: Experiment, breach: str | None) -> Conclusion | None:
    """The verdict that ends the test now, limits first; None while it goes on.

    ACCEPTED takes a proven gain and every guardrail proven to be kept: all have to pass, so that
    each is tested at alpha. Harm may be found in any of the watched measures: a guardrail takes
    evidence as many times as strong as there are of them.
    """
    if breach is not None:
        return conclude(experiment, Verdict.HARMFUL, f"hard limit: {breach}")
    found = _standing(experiment)
    if found.worse:
        return conclude(experiment, Verdict.HARMFUL, "the treatment is worse")
    if found.broken_rails:
        return _broken(experiment, found.broken_rails[0])
    if found.better and not found.open_rails:
        return conclude(experiment, Verdict.ACCEPTED, "the treatment is better")
    spoiled = excluded_in_a_row(experiment)
    if len(spoiled) >= _MAX_EXCLUDED_IN_A_ROW:
        reason = f"{len(spoiled)} pairs in a row could not be counted; the last one: {spoiled[-1]}"
        return conclude(experiment, Verdict.INCONCLUSIVE, reason)
    if not found.better and _futile(experiment):
        rails = " with its guardrails kept" if experiment.plan.guardrails else ""
        why = f"the pairs left can't bring enough evidence of a gain{rails}"
        return at_budget_end(experiment, why)
    if not found.better and _unpromising(experiment):
        why = "what was seen so far makes it unlikely that the pairs left can prove a gain"
        return at_budget_end(experiment, why)
    return None


def at_budget_end(experiment: Experiment, why: str) -> Conclusion:
    """REJECTED where a worthwhile gain is refuted, INCONCLUSIVE otherwise; `why` it ends."""
    if not experiment.pairs:
        spoiled = excluded_in_a_row(experiment)
        detail = f"; the last one: {spoiled[-1]}" if spoiled else ""
        reason = f"{why}; no pair could be counted{detail}"
        return conclude(experiment, Verdict.INCONCLUSIVE, reason)
    found = _standing(experiment)
    if found.better:
        reason = f"{why}; the treatment is better, but {_unproven(experiment, found.open_rails)}"
        return conclude(experiment, Verdict.INCONCLUSIVE, reason)
    if experiment.looks[-1].high < WORTHWHILE:
        least = wording.size(measure(experiment.plan.outcome), WORTHWHILE)
        reason = f"{why}; a gain of {least} or more is refuted"
        return conclude(experiment, Verdict.REJECTED, reason)
    return conclude(experiment, Verdict.INCONCLUSIVE, why)


def conclude(experiment: Experiment, verdict: Verdict, reason: str) -> Conclusion:
    """A conclusion with the figures so far, and the reason with the same figures in words.

    The confidence is that of the claim made: of harm for HARMFUL, else of benefit. Without a
    pair, the effect is NaN and the bounds hold everything possible.
    """
    harmful = verdict is Verdict.HARMFUL
    claim = "it is worse" if harmful else "it is better"
    confidence = 0.0
    if experiment.looks:
        primary = evidence(experiment).primary
        confidence = float((primary.worse if harmful else primary.better).confidence)
    return _conclusion(experiment, verdict, reason, claim, confidence)


def _broken(experiment: Experiment, rail: Guardrail) -> Conclusion:
    """HARMFUL because of a guardrail; the confidence is that of its being broken."""
    by = measure(rail.measure)
    log_e = max((0.0, *(look.log_e_broken for look in looks_at(experiment, rail))))
    confidence = -math.expm1(math.log(watched(experiment)) - log_e)
    claim = f"{by.words} got worse by {wording.margin(rail)} or more"
    reason = f"guardrail: {claim}"
    return _conclusion(experiment, Verdict.HARMFUL, reason, claim, max(0.0, confidence))


def _conclusion(
    experiment: Experiment, verdict: Verdict, reason: str, claim: str, confidence: float
) -> Conclusion:
    plan = experiment.plan
    by = measure(plan.outcome)
    missed = wording.misses(
        toll(experiment.slots, Arm.TREATMENT), toll(experiment.slots, Arm.CONTROL)
    )
    if not experiment.looks:
        details = "; ".join(filter(None, ("no pair counted", missed)))
        return Conclusion(verdict, f"{reason} ({details})", 0, math.nan, *by.span, 0.0)
    look = experiment.looks[-1]
    pairs = "1 pair" if look.pairs == 1 else f"{look.pairs} pairs"
    details = "; ".join(
        filter(
            None,
            (
                f"{pairs}: {wording.effect(by, look, plan.alpha)}",
                f"confidence that {claim}: {percent(confidence)}",
                _kept(experiment),
                missed,
            ),
        )
    )
    text = f"{reason} ({details})"
    return Conclusion(verdict, text, look.pairs, look.effect, look.low, look.high, confidence)


def _standing(experiment: Experiment) -> _Standing:
    threshold = -math.log(experiment.plan.alpha)
    rails = {rail: standing(experiment, rail) for rail in experiment.plan.guardrails}
    return _Standing(
        better=any(look.log_e_benefit >= threshold for look in experiment.looks),
        worse=any(look.log_e_harm >= threshold for look in experiment.looks),
        open_rails=tuple(r for r, stands in rails.items() if stands is not Standing.KEPT),
        broken_rails=tuple(r for r, stands in rails.items() if stands is Standing.BROKEN),
    )


def _unproven(experiment: Experiment, rails: tuple[Guardrail, ...]) -> str:
    """Why these guardrails stand in the way, each with what is known of it."""
    return "; ".join(_why_open(experiment, rail) for rail in rails)


def _why_open(experiment: Experiment, rail: Guardrail) -> str:
    by = measure(rail.measure)
    seen = [look for look in experiment.looks[-1].guardrails if look.measure == rail.measure]
    if not seen or not seen[0].pairs:
        return f"its guardrail {by.words} was never measured"
    return (
        f"it is not shown that {by.words} got worse by less than {wording.margin(rail)} "
        f"(seen: {wording.change(by, seen[0].effect)})"
    )


def _kept(experiment: Experiment) -> str:
    """Which guardrails are proven to be kept."""
    still_open = _standing(experiment).open_rails
    kept = [rail for rail in experiment.plan.guardrails if rail not in still_open]
    return f"guardrails kept: {wording.names(kept)}" if kept else ""


def _unpromising(experiment: Experiment) -> bool:
    left, level = pairs_left(experiment), experiment.plan.futility
    return level > 0 and left > 0 and not evidence(experiment).promising(left, level)


def _futile(experiment: Experiment) -> bool:
    """Whether acceptance is out of reach, and rejection and harm shown already or out of reach too.

    While only those two are within reach the test goes on: they are what the next proposal learns.
    """
    left, found = pairs_left(experiment), evidence(experiment)
    if left == 0 or found.acceptable(left):
        return False  # with nothing left, the budget's end speaks for itself
    if found.breakable(left):
        return False
    rejected = bool(experiment.looks) and experiment.looks[-1].high < WORTHWHILE
    return rejected or not found.refutable(left)
