"""What a test would cost, from the noise of earlier tests; pure, knows no history and no clock."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from autotuner.abtest.design import needed_pairs, plan_check, smallest_size
from autotuner.domain.experiment import Experiment, Pair, Plan
from autotuner.domain.measures import Link, Measure, measure

# Chosen: below it the scale of the noise is a guess that the plan's own need not yield to.
LEAST_DEGREES = 6


@dataclass(frozen=True)
class Noise:
    """The standard deviation of a pair's difference, in the measure's units or log units.

    `pairs` of `tests` were looked at; none: it is the plan's `prior_sd`.
    """

    sd: float
    pairs: int = 0
    tests: int = 0

    @property
    def measured(self) -> bool:
        return self.pairs > 0


@dataclass(frozen=True)
class Need:
    """What one measure asks of the test. `shift`: what has to be told from nothing.

    For a guardrail it is the margin, and `pairs` show (in 80% of tests) that it was kept where the
    candidate does not move it. For the outcome it is the effect hoped for, NaN where none was told.
    """

    measure: Measure
    noise: Noise
    shift: float
    pairs: float
    margin: float | None = None


@dataclass(frozen=True)
class Cost:
    """What a plan takes. `smallest_effect`: the least gain that its pairs find in 80% of tests.

    NaN where even the largest possible one is too small. Minutes are the longest a pair can take.
    """

    plan: Plan
    outcome: Need
    guardrails: tuple[Need, ...]
    smallest_effect: float
    pair_minutes: float

    @property
    def needs(self) -> tuple[Need, ...]:
        return (self.outcome, *self.guardrails)

    @property
    def pairs(self) -> float:
        """Pairs until all is shown; of the guardrails alone where no effect was told."""
        return max((need.pairs for need in self.needs if not math.isnan(need.pairs)), default=0.0)

    def fits(self, need: Need) -> bool:
        return math.isnan(need.pairs) or need.pairs <= self.plan.max_pairs


def cost_of(plan: Plan, past: Sequence[Experiment], effect: float = math.nan) -> Cost:
    """What `plan` needs on a target whose earlier tests are `past`; `effect` in outcome units."""
    outcome = measure(plan.outcome)
    noise = noise_of(outcome, plan.prior_sd, plan, past)
    wanted = math.nan if math.isnan(effect) else needed_pairs(effect / noise.sd, plan.alpha)
    smallest = smallest_size(plan) * noise.sd
    return Cost(
        plan=plan,
        outcome=Need(outcome, noise, effect, wanted),
        guardrails=tuple(
            _guarded(measure(one.measure), one.margin, one.prior_sd, plan, past)
            for one in plan.guardrails
        ),
        smallest_effect=smallest if smallest <= outcome.span[1] else math.nan,
        pair_minutes=2 * (plan.slot_s + plan.washout_max_s) / 60,
    )


def noise_of(found: Measure, prior_sd: float, plan: Plan, past: Iterable[Experiment]) -> Noise:
    """Pooled over tests of the same design, around each test's own mean, so that effects drop out.

    Slots of another length are scaled by the root of their length, as the mean of independent
    requests is. `prior_sd` where fewer than LEAST_DEGREES degrees of freedom were seen.
    """
    squares, degrees, tests = 0.0, 0, 0
    for experiment in past:
        differences = _differences(found, experiment, plan)
        if len(differences) > 1:
            centre = math.fsum(differences) / len(differences)
            squares += math.fsum((d - centre) ** 2 for d in differences)
            degrees += len(differences) - 1
            tests += 1
    if degrees < LEAST_DEGREES or squares == 0:
        return Noise(prior_sd)
    return Noise(math.sqrt(squares / degrees), degrees + tests, tests)


def effect_of(found: Measure, gain: float) -> float:
    """A gain as people say it (points of a share, % of the value) as a difference; NaN beyond."""
    if found.link is Link.DIFFERENCE:
        return gain / 100 if found.unit == "share" else gain
    share = gain / 100 if found.higher_is_better else -gain / 100
    if share <= -1:
        return math.nan
    return math.log1p(share) if found.higher_is_better else -math.log1p(share)


def _differences(found: Measure, experiment: Experiment, plan: Plan) -> list[float]:
    if experiment.plan.design is not plan.design:
        return []
    scale = math.sqrt(experiment.plan.slot_s / plan.slot_s)
    same = experiment.plan.outcome == found.name
    values = (_difference(found, pair, same, plan) for pair in experiment.pairs)
    return [scale * value for value in values if math.isfinite(value)]


def _difference(found: Measure, pair: Pair, is_outcome: bool, plan: Plan) -> float:
    """As the plan's own statistics would see it, as far as the earlier test can tell."""
    if is_outcome:
        return pair.adjusted if plan.covariates else pair.difference
    return found.difference(pair.control, pair.treatment, plan)


def _guarded(
    found: Measure, margin: float, prior_sd: float, plan: Plan, past: Sequence[Experiment]
) -> Need:
    noise = noise_of(found, prior_sd, plan, past)
    shift = found.shift(margin)
    return Need(found, noise, shift, needed_pairs(shift / noise.sd, plan.alpha), margin)


def refusal_of(cost: Cost) -> str | None:
    """Why the daemon would not start it, with the figures; by the noise that was measured."""
    plan, outcome = cost.plan, cost.outcome
    known = {need.measure.name: need.noise.sd for need in cost.guardrails}
    guardrails = tuple(replace(one, prior_sd=known[one.measure]) for one in plan.guardrails)
    effect = None if math.isnan(outcome.shift) else outcome.shift
    return plan_check(effect, outcome.noise.sd, replace(plan, guardrails=guardrails))
