"""How large a change's effect truly is, measured apart from any test and by another clock.

Long blocks under both settings in turn, each pair of blocks with the very same requests at the
very same times, timed by the client. No slots, no exposure log, no statistics of the test.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from autotuner.domain.knobs import Settings
from autotuner.load.arrivals import steady
from autotuner.load.kinds import Process
from autotuner.load.lengths import named_mix
from autotuner.load.plan import Plan as Requests
from autotuner.load.plan import synthetic
from autotuner.load.results import RequestResult
from experiments.studies.ab_live.bench import HERE, Bench


@dataclass(frozen=True)
class Truth:
    """A block pair's log gains in mean whole-request time, positive where the second is faster."""

    gains: tuple[float, ...]

    @property
    def log_gain(self) -> float:
        return statistics.fmean(self.gains)

    @property
    def error(self) -> float:
        """Standard error of the mean; NaN for a single pair."""
        if len(self.gains) < 2:
            return math.nan
        return statistics.stdev(self.gains) / math.sqrt(len(self.gains))

    @property
    def cut(self) -> float:
        """The share by which whole requests are shorter."""
        return 1 - math.exp(-self.log_gain)


def requests_of(mix: str, rate_rps: float, seconds: float, seed: int) -> Requests:
    """Poisson arrivals of the mix."""
    lengths = named_mix(str(HERE / f"{mix}.yaml"))
    return synthetic(steady(rate_rps, seconds), Process.POISSON, lengths, seed)


def mean_e2el_s(results: Sequence[RequestResult]) -> float:
    """The client's mean whole-request time, over what was served."""
    return statistics.fmean(r.e2el_s for r in results if r.failure is None)


def measure(bench: Bench, slow: Settings, fast: Settings, blocks: Sequence[Requests]) -> Truth:
    """The gain of `fast` over `slow`; which of the two comes first changes with every pair."""
    gains = []
    for number, requests in enumerate(blocks):
        order = (slow, fast) if number % 2 == 0 else (fast, slow)
        took_s = {}
        for settings in order:
            bench.apply(settings, "a block of known settings")
            took_s[settings] = mean_e2el_s(bench.replay(requests, seed=number))
        gains.append(math.log(took_s[slow] / took_s[fast]))
    return Truth(tuple(gains))
