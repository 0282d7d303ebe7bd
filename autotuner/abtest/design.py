"""Which arm comes when, and whether a test can end in its budget; never what was measured."""

from __future__ import annotations

import hashlib
import itertools
import math

from autotuner.domain.experiment import Arm, Plan

# Pairs by which 80% of the tests had accepted, for a true mean of g standard deviations:
# measured over 2,000 simulated tests with normal differences, prior_sd equal to their sd.
_MEASURED_PAIRS = ((3.0, 7), (2.0, 8), (1.5, 11), (1.0, 18), (0.5, 52), (0.25, 201))


def arm_of(seed: int, slot_index: int) -> Arm:
    """The arm of a slot: a fair coin per pair, drawn from a hash of the seed and the pair.

    The second slot of a pair has the other arm. Each experiment needs a seed of its own, drawn
    at random by the caller: the test's validity rests on this coin.
    """
    pair, second = divmod(slot_index, 2)
    digest = hashlib.blake2b(f"{seed}/{pair}".encode(), digest_size=8).digest()
    first = Arm.TREATMENT if digest[0] & 1 else Arm.CONTROL
    return first.other if second else first


def needed_pairs(g: float) -> float:
    """Pairs that a test of a true effect of `g` standard deviations needs (80% power).

    Measured points, straight in 1/g² between them, 12.3/g² + 5 beyond; infinite for g ≤ 0 or NaN.
    """
    if not g > 0:
        return math.inf
    inverse = 1 / (g * g)
    smallest, pairs_there = _MEASURED_PAIRS[-1]
    if g < smallest:
        return max(float(pairs_there), math.ceil(12.3 * inverse + 5))
    for (g_high, pairs_high), (g_low, pairs_low) in itertools.pairwise(_MEASURED_PAIRS):
        if g_low <= g < g_high:
            start, end = g_high**-2, g_low**-2
            share = (inverse - start) / (end - start)
            return float(math.ceil(pairs_high + share * (pairs_low - pairs_high) - 1e-9))
    return float(_MEASURED_PAIRS[0][1])


def plan_check(effect: float, sd: float, plan: Plan) -> str | None:
    """Why this test should not be started, with the figures; None when it can end in its budget.

    `effect` is the improvement hoped for and `sd` the standard deviation of a pair's difference,
    both in the outcome's units.
    """
    if plan.slot_s <= plan.cooldown_s:
        return (
            f"slot_s={plan.slot_s:g} leaves nothing to count: make it longer than "
            f"cooldown_s={plan.cooldown_s:g}"
        )
    if not (math.isfinite(effect) and math.isfinite(sd) and sd >= 0):
        return f"effect={effect:g} and sd={sd:g} must be finite numbers, sd not below 0"
    if effect <= 0:
        return f"effect={effect:+.3f}: no improvement is expected, and only one can be accepted"
    pairs = needed_pairs(effect / sd if sd > 0 else math.inf)
    if pairs <= plan.max_pairs:
        return None
    return (
        f"an effect of {effect:+.3f} against a pair noise of {sd:.3f} needs about {pairs:.0f} "
        f"pairs ({_minutes(pairs, plan):.0f} min); the plan allows {plan.max_pairs} "
        f"({_minutes(plan.max_pairs, plan):.0f} min): raise max_pairs, or slot_s to lower the noise"
    )


def _minutes(pairs: float, plan: Plan) -> float:
    return 2 * pairs * (plan.slot_s + plan.washout_max_s) / 60
