"""Which arm comes when and where, and whether a test can end in its budget; never what was seen."""

from __future__ import annotations

import hashlib
import itertools
import math

from autotuner.domain.experiment import Arm, Guardrail, Plan
from autotuner.domain.measures import measure

# Pairs by which 80% of the tests had accepted, for a true mean of g standard deviations at
# α = 0.05: measured over 2,000 simulated tests with normal differences, prior_sd equal to their sd.
_MEASURED_PAIRS = ((3.0, 7), (2.0, 7), (1.5, 10), (1.0, 17), (0.5, 52), (0.25, 196))
_MEASURED_ALPHA = 0.05

_BISECTIONS = 60  # chosen: the bounds then agree to the last digit


def arm_of(seed: int, period: int) -> Arm:
    """The arm of lane 0 in a period: a fair coin per pair, a hash of the seed and the pair.

    The second period of a pair has the other arm. Each experiment needs a seed of its own, drawn
    at random by the caller: the test's validity rests on this coin.
    """
    pair, second = divmod(period, 2)
    digest = hashlib.blake2b(f"{seed}/{pair}".encode(), digest_size=8).digest()
    first = Arm.TREATMENT if digest[0] & 1 else Arm.CONTROL
    return first.other if second else first


def arms_of(seed: int, period: int, lanes: int) -> tuple[Arm, ...]:
    """The arm of each lane in a period; the second lane has the arm that the first has not."""
    first = arm_of(seed, period)
    return (first,) if lanes == 1 else (first, first.other)


def needed_pairs(g: float, alpha: float = _MEASURED_ALPHA) -> float:
    """Pairs that a test of a true effect of `g` standard deviations needs (80% power).

    Measured points, straight in 1/g² between them, 12.3/g² + 5 beyond; infinite for g ≤ 0 or NaN.
    A stricter level than 0.05 takes (3/g² + 1.5) ln(0.05/α) more: within 10% of what 2,000
    simulated tests needed for g from 0.35 to 3 and α down to 0.0002.
    """
    if not g > 0:
        return math.inf
    stricter = max(0.0, math.log(_MEASURED_ALPHA / alpha))
    return math.ceil(_pairs_at_measured_alpha(g) + stricter * (3 / (g * g) + 1.5) - 1e-9)


def smallest_size(plan: Plan) -> float:
    """The least effect, in standard deviations of a pair, that the plan's pairs suffice for.

    Infinite where no effect could be proven in so few pairs.
    """
    low, high = 1e-3, 1e3
    if needed_pairs(high, plan.alpha) > plan.max_pairs:
        return math.inf
    for _ in range(_BISECTIONS):
        middle = math.sqrt(low * high)
        fits = needed_pairs(middle, plan.alpha) <= plan.max_pairs
        low, high = (low, middle) if fits else (middle, high)
    return high


def plan_check(effect: float | None, sd: float, plan: Plan) -> str | None:
    """Why this test should not be started, with the figures; None when it can end in its budget.

    `effect` is the improvement hoped for (None where nothing is known of it) and `sd` the standard
    deviation of a pair's difference, both in the outcome's units. Guardrails are taken to be
    unmoved, each with the noise that the plan says.
    """
    if plan.slot_s <= plan.cooldown_s:
        return (
            f"slot_s={plan.slot_s:g} leaves nothing to count: make it longer than "
            f"cooldown_s={plan.cooldown_s:g}"
        )
    refusal = _effect_check(effect, sd, plan) if effect is not None else None
    guarded = (_guardrail_check(guardrail, plan) for guardrail in plan.guardrails)
    return refusal or next((text for text in guarded if text is not None), None)


def _effect_check(effect: float, sd: float, plan: Plan) -> str | None:
    if not (math.isfinite(effect) and math.isfinite(sd) and sd >= 0):
        return f"effect={effect:g} and sd={sd:g} must be finite numbers, sd not below 0"
    if effect <= 0:
        return f"effect={effect:+.3f}: no improvement is expected, and only one can be accepted"
    pairs = needed_pairs(effect / sd if sd > 0 else math.inf, plan.alpha)
    if pairs <= plan.max_pairs:
        return None
    what = f"an effect of {effect:+.3f} against a pair noise of {sd:.3f}"
    return f"{_too_many(what, pairs, plan)}: raise max_pairs, or slot_s to lower the noise"


def _guardrail_check(guardrail: Guardrail, plan: Plan) -> str | None:
    """That it is not worse by its margin must be provable where the treatment does not move it."""
    shift = measure(guardrail.measure).shift(guardrail.margin)
    pairs = needed_pairs(shift / guardrail.prior_sd, plan.alpha)
    if pairs <= plan.max_pairs:
        return None
    what = (
        f"guardrail {guardrail.measure}: a margin of {guardrail.margin:g} against a pair noise of "
        f"{guardrail.prior_sd:g}"
    )
    return f"{_too_many(what, pairs, plan)}: widen its margin, raise max_pairs, or slot_s"


def _too_many(what: str, pairs: float, plan: Plan) -> str:
    level = f" at α = {plan.alpha:.2g}" if plan.alpha < _MEASURED_ALPHA else ""
    return (
        f"{what} needs about {pairs:.0f} pairs{level} ({_minutes(pairs, plan):.0f} min); the plan "
        f"allows {plan.max_pairs} ({_minutes(plan.max_pairs, plan):.0f} min)"
    )


def _minutes(pairs: float, plan: Plan) -> float:
    return 2 * pairs * plan.period_s / 60


def _pairs_at_measured_alpha(g: float) -> float:
    inverse = 1 / (g * g)
    smallest, pairs_there = _MEASURED_PAIRS[-1]
    if g < smallest:
        return max(float(pairs_there), math.ceil(12.3 * inverse + 5))
    for (g_high, pairs_high), (g_low, pairs_low) in itertools.pairwise(_MEASURED_PAIRS):
        if g_low <= g < g_high:
            start, end = g_high**-2, g_low**-2
            share = (inverse - start) / (end - start)
            return pairs_high + share * (pairs_low - pairs_high)
    return float(_MEASURED_PAIRS[0][1])
