"""How a test is run, given the noise that was measured before it; never how noise is measured.

The rule (facts behind it: with a system that relaxes in τ, a washout of τ and slots of 6 τ or more
keep nine tenths of an effect): washout = τ, slot = the largest of the policy's slot, 6 τ and the
time that enough requests take. Longer slots are taken where they end the test sooner.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from autotuner.abtest.design import needed_pairs, smallest_size
from autotuner.domain.experiment import Design, Guardrail, Plan
from autotuner.domain.measures import Link, measure

_SLOTS_PER_RELAXATION = 6.0
# Chosen: logs of means are biased where one arm is only more variable; with a hundred requests
# in a slot the bias is small against any worthwhile effect. Shares have no such bias.
_REQUESTS_FOR_RATIOS = 100
# Chosen: arrivals are bursty; twice the least keeps nearly every slot above it.
_REQUESTS_MARGIN = 2.0
# Chosen: lengths that are compared, as multiples of the shortest that is allowed.
_STRETCHES = (1.0, 1.25, 1.5, 2.0, 2.5, 3.0, 4.0)
# Chosen: a scale ten times too small costs little; below that a lucky calm would cost a lot.
_LEAST_SHARE_OF_PRIOR = 0.1


@dataclass(frozen=True)
class NoisePoint:
    """The scale (root mean square) of the difference of two like slots of that length (s).

    `guardrails`: the same of each guardrail's measure, where it was there.
    """

    slot_s: float
    sd: float
    pairs: int
    guardrails: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True)
class Noise:
    """What a target's noise was of late.

    Of the measure `outcome` under `design`, for which alone the points hold. `points`: in rising
    order of length, one at least. `relaxation_s`: the time constant with which the target forgets
    a switch; NaN where it is not known. `rate_rps`: requests per second.
    """

    outcome: str
    design: Design
    points: tuple[NoisePoint, ...]
    relaxation_s: float = math.nan
    rate_rps: float = math.nan

    def suits(self, plan: Plan) -> bool:
        """Whether a test of the plan meets this noise: same measure, same design."""
        return (self.outcome, self.design) == (plan.outcome, plan.design)

    def pair_sd(self, slot_s: float) -> float:
        """The scale of a pair's difference at that length."""
        return self._at(slot_s, {point.slot_s: point.sd for point in self.points})

    def pairs_at(self, slot_s: float) -> int:
        """On how many pairs the nearest measured length rests."""
        return min(self.points, key=lambda point: abs(point.slot_s - slot_s)).pairs

    def guardrail_sd(self, name: str, slot_s: float) -> float:
        """The same of a guardrail's measure; NaN where it was not measured."""
        known = {point.slot_s: dict(point.guardrails).get(name) for point in self.points}
        seen = {length: sd for length, sd in known.items() if sd is not None}
        return self._at(slot_s, seen) if seen else math.nan

    def _at(self, slot_s: float, known: dict[float, float]) -> float:
        """Straight lines between measured lengths; beyond them, noise falls with the root.

        That is what independent seconds do; where seconds hang together, it falls faster.
        """
        lengths = sorted(known)
        if slot_s <= lengths[0]:
            return known[lengths[0]] * math.sqrt(lengths[0] / slot_s)
        if slot_s >= lengths[-1]:
            return known[lengths[-1]] * math.sqrt(lengths[-1] / slot_s)
        above = next(i for i, length in enumerate(lengths) if length >= slot_s)
        low, high = lengths[above - 1], lengths[above]
        share = (slot_s - low) / (high - low)
        return known[low] + share * (known[high] - known[low])


def planned(base: Plan, noise: Noise, effect: float | None = None) -> Plan:
    """The plan of a test with the noise taken into account; `base` is the policy's.

    The whole takes no longer than `base.budget_s`: longer slots leave fewer pairs. With `effect`
    (the improvement hoped for, in the outcome's units) it is the one that needs the least time.
    """
    washed = _with_washout(base, noise)
    shortest = _shortest_slot(washed, noise)
    plans = [_with_slot(base, washed, noise, shortest * stretch) for stretch in _STRETCHES]
    if effect is None or not effect > 0:
        return plans[0]
    return min(plans, key=lambda plan: _expected_s(plan, effect))


def with_restarts(base: Plan, restart_s: float) -> Plan:
    """The plan of a test whose changes of arms take a restart of `restart_s`; `base` without one.

    Slots are long against it, and the whole takes no longer than `base.budget_s`. Where answers
    are the outcome, slots stay as they are: a probe says no more in a longer one.
    """
    if not restart_s > 0:
        return base
    long_s = 0.0 if measure(base.outcome).needs_probe else base.slot_restarts * restart_s
    slot_s = max(base.slot_s, long_s)
    plan = replace(base, slot_s=slot_s, restart_s=restart_s)
    affordable = int(base.budget_s / (2 * plan.period_s) + 1e-9)
    return replace(plan, max_pairs=max(1, min(base.max_pairs, affordable)))


def restarts_fit(plan: Plan, budget_s: float) -> str | None:
    """Why the budget is too small for a test with such restarts; None where it is not."""
    least = needed_pairs(math.inf, plan.alpha)
    if not plan.restart_s > 0 or least <= plan.max_pairs:
        return None
    return (
        f"a restart takes {plan.restart_s:.0f} s, so that slots last {plan.slot_s:.0f} s; the "
        f"{least:.0f} pairs that a confidence of {1 - plan.alpha:.2%} takes need "
        f"{2 * least * plan.period_s / 60:.0f} min, and the plan allows {budget_s / 60:.0f} min: "
        "raise max_pairs or slot_s"
    )


def expected_pairs(plan: Plan, effect: float) -> float:
    """Pairs after which 80% of the tests of such an effect have decided."""
    return needed_pairs(effect / plan.prior_sd, plan.alpha)


def smallest_effect(plan: Plan) -> float:
    """The smallest improvement that the plan's pairs find in 80% of the tests (outcome's units).

    Infinite where no effect could be proven in so few pairs.
    """
    return smallest_size(plan) * plan.prior_sd


def feasible(plan: Plan, rate_rps: float) -> str | None:
    """Why no test of this plan can come to an end, whatever the effect; None where one can."""
    if math.isinf(smallest_effect(plan)):
        least = needed_pairs(math.inf, plan.alpha)
        return (
            f"a confidence of {1 - plan.alpha:.2%} takes {least:.0f} pairs at least; the plan "
            f"allows {plan.max_pairs} of {plan.slot_s:.0f} s slots: raise max_pairs"
        )
    expected = rate_rps / plan.design.lanes * (plan.slot_s - plan.cooldown_s)
    # Arrivals vary by the root of their number: at the bare mean half of the slots have too few.
    if expected - math.sqrt(expected) < plan.min_requests_per_slot:
        return (
            f"{rate_rps:.2g} requests/s bring about {expected:.0f} requests into a slot of "
            f"{plan.slot_s:.0f} s, and {plan.min_requests_per_slot} are needed in nearly each: "
            "raise slot_s"
        )
    return None


def described(plan: Plan, noise: Noise | None) -> str:
    """The plan in words, for the reason of a START."""
    source = "the policy's" if noise is None else f"measured on {noise.pairs_at(plan.slot_s)} pairs"
    unit = measure(plan.outcome).words
    restart = f"a restart of {plan.restart_s:.0f} s and " if plan.restart_s > 0 else ""
    return (
        f"slots of {plan.slot_s:.0f} s after {restart}a washout of {plan.washout_min_s:.0f} s or "
        "more, "
        f"{plan.max_pairs} pairs at most, noise of a pair {plan.prior_sd:.3g} in {unit} ({source})"
    )


def _with_washout(base: Plan, noise: Noise) -> Plan:
    tau_s = noise.relaxation_s
    if not math.isfinite(tau_s):
        return base
    least = max(base.washout_min_s, tau_s)
    return replace(base, washout_min_s=least, washout_max_s=max(base.washout_max_s, least))


def _shortest_slot(plan: Plan, noise: Noise) -> float:
    tau_s = noise.relaxation_s if math.isfinite(noise.relaxation_s) else 0.0
    filled_s = 0.0
    if noise.rate_rps > 0:
        filled_s = _enough_requests(plan) * plan.design.lanes / noise.rate_rps + plan.cooldown_s
    return max(plan.slot_s, _SLOTS_PER_RELAXATION * tau_s, filled_s)


def _enough_requests(plan: Plan) -> float:
    least = _REQUESTS_MARGIN * plan.min_requests_per_slot
    ratio = measure(plan.outcome).link is Link.LOG_RATIO
    return max(_REQUESTS_FOR_RATIOS, least) if ratio else least


def _with_slot(base: Plan, washed: Plan, noise: Noise, slot_s: float) -> Plan:
    affordable = int(base.budget_s / (2 * replace(washed, slot_s=slot_s).period_s) + 1e-9)
    return replace(
        washed,
        slot_s=slot_s,
        max_pairs=max(1, min(base.max_pairs, affordable)),
        prior_sd=_scale(noise.pair_sd(slot_s), base.prior_sd),
        guardrails=tuple(_measured(guardrail, noise, slot_s) for guardrail in base.guardrails),
    )


def _measured(guardrail: Guardrail, noise: Noise, slot_s: float) -> Guardrail:
    sd = noise.guardrail_sd(guardrail.measure, slot_s)
    return (
        guardrail if math.isnan(sd) else replace(guardrail, prior_sd=_scale(sd, guardrail.prior_sd))
    )


def _scale(measured: float, prior: float) -> float:
    return max(measured, _LEAST_SHARE_OF_PRIOR * prior)


def _expected_s(plan: Plan, effect: float) -> tuple[bool, float]:
    """Whether the effect is beyond the plan's pairs, and the time that finding it takes."""
    pairs = expected_pairs(plan, effect)
    return pairs > plan.max_pairs, 2 * pairs * plan.period_s
