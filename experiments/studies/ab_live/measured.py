"""What the study compares, and all that it saw; never how it was run."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass

from autotuner.domain.experiment import Experiment, Verdict
from autotuner.domain.knobs import Settings
from autotuner.domain.slo import SLO
from experiments.studies.ab_live.bench import Tested
from experiments.studies.ab_live.harm import Demand, Harm
from experiments.studies.ab_live.truth import Truth

FAST = Settings({"batch_timeout_ms": 0, "max_num_batched_tokens": 512, "max_num_seqs": 16})
HARMFUL = FAST.with_values(max_num_batched_tokens=16)
GAIN = 0.2  # the cut in whole-request time that has to be found
LOG_GAIN = -math.log(1 - GAIN)
CONCURRENCY = 1.2  # chosen: lone requests in flight; a worker that is neither idle nor full
LOADED = 1.2  # measured: a request's whole time at that load, over a lone one's
WAITED = 0.95  # measured: the share of batch_timeout_ms that a request waits at that load


@dataclass(frozen=True)
class Short:
    """The short requests' load and settings, which follow from how long one takes alone."""

    lone_s: float

    @property
    def rate_rps(self) -> float:
        return round(CONCURRENCY / self.lone_s, 2)

    @property
    def slow(self) -> Settings:
        """FAST made worse by a wait that makes GAIN of the whole time."""
        wait_s = LOADED * self.lone_s * GAIN / (1 - GAIN) / WAITED
        return FAST.with_values(batch_timeout_ms=max(1, min(100, round(wait_s * 1000))))

    @property
    def slo(self) -> SLO:
        """A request that takes twice as long as a lone one has missed it."""
        return SLO(e2el_s=round(2 * self.lone_s, 3))


@dataclass(frozen=True)
class Measured:
    """All that the study saw. `planned`: pairs for a gain of GAIN against the A/A's noise."""

    short: Short
    truth: Truth
    aa: Tested
    planned: float
    gains: tuple[Tested, ...]
    demand: Demand
    harms: tuple[tuple[Tested, Harm], ...]

    @property
    def found(self) -> tuple[Tested, ...]:
        """The tests of the true gain that accepted it."""
        return tuple(test for test in self.gains if verdict_of(test) is Verdict.ACCEPTED)

    @property
    def found_as_planned(self) -> tuple[Tested, ...]:
        """Those of them that needed no more pairs than were planned."""
        return tuple(t for t in self.found if len(t.experiment.pairs) <= self.planned)


def pair_sd(experiment: Experiment) -> float:
    """The standard deviation of a pair's difference; 0 for a single pair."""
    differences = [pair.difference for pair in experiment.pairs]
    return statistics.stdev(differences) if len(differences) > 1 else 0.0


def verdict_of(tested: Tested) -> Verdict | None:
    """None for a test that was still running when the study stopped looking."""
    ended = tested.experiment.conclusion
    return ended.verdict if ended is not None else None


def by_hard_limit(tested: Tested) -> bool:
    ended = tested.experiment.conclusion
    return verdict_of(tested) is Verdict.HARMFUL and "hard limit" in (ended.reason if ended else "")
