"""What the pairs so far say of a test's measures; never what follows from it.

Every figure is valid at every look, for the primary measure and for each guardrail alike. A look
costs the same after any number of pairs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import stdtrit

from autotuner.abtest.eprocess import EProcess, Floats
from autotuner.abtest.folding import Folding
from autotuner.abtest.interval import Interval, ShiftTests
from autotuner.domain.experiment import Guardrail, GuardrailLook, Look, Plan
from autotuner.domain.measures import measure

# Chosen: a gain below two points of a share (2% of a ratio) is not worth a change.
WORTHWHILE = 0.02
FEWEST = 5  # chosen: pairs from which on their spread is worth something


@dataclass(frozen=True, eq=False)
class Series:
    """The evidence in one measure's differences, signed so that positive is better.

    `claim`: the shift that has to be beaten, 0 for the primary measure and −margin for a guardrail.
    """

    claim: float
    tests: ShiftTests
    mean: float = math.nan
    squares: float = 0.0  # of the deviations from the mean, summed (Welford)

    @classmethod
    def primary(cls, plan: Plan) -> Series:
        """Before the first pair."""
        span = measure(plan.outcome).span
        return cls(0.0, ShiftTests.start(plan.prior_sd, span, (WORTHWHILE,)))

    @classmethod
    def guarding(cls, guardrail: Guardrail) -> Series:
        """Before the first pair."""
        guarded = measure(guardrail.measure)
        claim = -guarded.shift(guardrail.margin)
        return cls(claim, ShiftTests.start(guardrail.prior_sd, guarded.span, (claim,)))

    @property
    def pairs(self) -> int:
        return self.tests.upward.n

    @property
    def better(self) -> EProcess:
        """Against "the shift is the claim or less"."""
        return self.tests.above(self.claim)

    @property
    def worse(self) -> EProcess:
        """Against "the shift is the claim or more"."""
        return self.tests.under(self.claim)

    def update(self, difference: float) -> Series:
        """After one more pair; NaN is no data. Raises ValueError where it is infinite."""
        if math.isnan(difference):
            return self
        before = self.mean if self.pairs else 0.0
        mean = before + (difference - before) / (self.pairs + 1)
        squares = self.squares + (difference - before) * (difference - mean)
        return replace(self, tests=self.tests.update(difference), mean=mean, squares=squares)

    def at_most(self, level: float) -> float:
        """The upper end of the mean's one-sided interval at this moment (Student's t); NaN before
        two pairs. For planning alone: unlike a look's bounds it does not hold at every look.
        """
        if self.pairs < 2:
            return math.nan
        error = math.sqrt(self.squares / (self.pairs - 1) / self.pairs)
        return self.mean + float(stdtrit(self.pairs - 1, level)) * error


@dataclass(frozen=True, eq=False)
class Evidence:
    """A test's evidence after its pairs: of the primary measure and of each guardrail."""

    plan: Plan
    primary: Series
    guardrails: tuple[Series, ...]  # in the plan's order

    @classmethod
    def start(cls, plan: Plan) -> Evidence:
        """Before the first pair. Raises ValueError where the plan names an unknown measure."""
        return cls(plan, Series.primary(plan), tuple(map(Series.guarding, plan.guardrails)))

    def update(self, difference: float, guardrails: Mapping[str, float]) -> Evidence:
        """After one more pair.

        `difference`: the primary's, adjusted; ValueError where it is not a finite number.
        `guardrails`: raw differences by measure; NaN, or none, where it was not measured.
        """
        if not math.isfinite(difference):
            raise ValueError(f"difference={difference!r}: leave out the pair, it has no number")
        grown = tuple(
            series.update(guardrails.get(rail.measure, math.nan))
            for rail, series in zip(self.plan.guardrails, self.guardrails, strict=True)
        )
        return replace(self, primary=self.primary.update(difference), guardrails=grown)

    def look(self) -> Look:
        """The figures of this moment; each bound holds at every look with 1 − alpha."""
        better = self.primary.better
        low, high = self.primary.tests.bounds(self.plan.alpha)
        return Look(
            pairs=self.primary.pairs,
            log_e_benefit=float(better.log_e),
            log_e_harm=float(self.primary.worse.log_e),
            confidence=float(better.confidence),
            effect=self.primary.mean,
            low=low,
            high=high,
            guardrails=tuple(
                _guardrail_look(rail, series, self.plan.alpha)
                for rail, series in zip(self.plan.guardrails, self.guardrails, strict=True)
            ),
        )

    def interval(self) -> Interval:
        """The primary's two-sided interval: covers the shift at every look with 1 − alpha."""
        return self.primary.tests.interval(self.plan.alpha)

    def acceptable(self, left: int) -> bool:
        """Whether `left` more pairs can still prove a gain, and that every guardrail is kept.

        Tried with pairs that are all equal, of sizes from a quarter of prior_sd to 64 times it.
        """
        return all(
            self._in_reach(series.better, left, series.tests.span[1] - series.claim)
            for series in (self.primary, *self.guardrails)
        )

    def promising(self, left: int, level: float) -> bool:
        """Whether `left` more pairs may still prove a gain, or harm.

        A gain with pairs that are each as good as can be hoped: the upper end of what was seen, at
        `level`; harm with pairs like the mean so far, since a harmful treatment is not to be tried
        again. To end a test early by this makes no false claim likelier; the study ab_futility
        says what it costs in power.
        """
        series = self.primary
        if series.pairs < FEWEST:
            return True
        hoped = np.array([series.at_most(level)])
        if hoped > 0 and self._reached(series.better, left, hoped):
            return True
        return series.mean < 0 and self._reached(series.worse, left, np.array([-series.mean]))

    def refutable(self, left: int) -> bool:
        """Whether `left` more pairs can still refute a worthwhile gain, tried in the same way."""
        tests = self.primary.tests
        return self._in_reach(tests.under(WORTHWHILE), left, WORTHWHILE - tests.span[0])

    def breakable(self, left: int) -> bool:
        """Whether a guardrail that can't be proven kept any more can still be proven broken."""
        return any(
            not self._in_reach(series.better, left, series.tests.span[1] - series.claim)
            and self._in_reach(series.worse, left, series.claim - series.tests.span[0])
            for series in self.guardrails
        )

    def _in_reach(self, process: EProcess, left: int, largest: float) -> bool:
        sizes = np.minimum(process.scale * np.geomspace(0.25, 64, 17), largest)
        return self._reached(process, left, sizes)

    def _reached(self, process: EProcess, left: int, sizes: Floats) -> bool:
        """Whether `left` pairs of one of these sizes would be evidence enough."""
        threshold = -math.log(self.plan.alpha)
        reached = process.max_log_e
        for _ in range(left):
            if reached.max() >= threshold:
                break
            process = process.update(sizes)
            reached = process.max_log_e
        return bool(reached.max() >= threshold)


def evidence_of(
    differences: Sequence[float], guardrails: Sequence[Mapping[str, float]], plan: Plan
) -> Evidence:
    """The evidence after all pairs: their adjusted differences, and those of the guardrails.

    A pure function; of pairs that were asked for already, only what is new is computed.
    """
    names = [rail.measure for rail in plan.guardrails]
    pairs = (
        (difference, tuple(_or_nan(found.get(name)) for name in names))
        for difference, found in zip(differences, guardrails, strict=True)
    )
    # Only what the statistics depend on: prices and limits may hold a NaN that equals no other.
    tested = Plan(
        alpha=plan.alpha, prior_sd=plan.prior_sd, outcome=plan.outcome, guardrails=plan.guardrails
    )
    return _remembered(tested, tuple(pairs))


def _with_pair(evidence: Evidence, pair: tuple[float, tuple[float, ...]]) -> Evidence:
    names = (rail.measure for rail in evidence.plan.guardrails)
    return evidence.update(pair[0], dict(zip(names, pair[1], strict=True)))


_remembered = Folding(Evidence.start, _with_pair)


def _or_nan(value: float | None) -> float:
    """The one NaN that equals itself, being the same object."""
    return math.nan if value is None or math.isnan(value) else value


def _guardrail_look(guardrail: Guardrail, series: Series, alpha: float) -> GuardrailLook:
    low, high = series.tests.bounds(alpha)
    return GuardrailLook(
        measure=guardrail.measure,
        pairs=series.pairs,
        log_e_kept=float(series.better.log_e),
        log_e_broken=float(series.worse.log_e),
        effect=series.mean,
        low=low,
        high=high,
    )
