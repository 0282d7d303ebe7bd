"""Trying settings in the discrete-step simulator, all on the same requests.

Every settings serves the same requests with the same noise as the others (common random numbers),
so that few repeats tell them apart. Many short repeats cost less than few long ones: a step takes
the simulator about as long for a hundred environments as for one.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from autotuner.agent.correction import Readings
from autotuner.agent.des import simulate
from autotuner.agent.engine import EngineTable
from autotuner.agent.latencies import attainment
from autotuner.agent.schedule import ScheduleTable
from autotuner.agent.stepmodel import Floats, Ints
from autotuner.agent.systems import Systems
from autotuner.agent.traffic import TokenMix, Traffic, poisson_row
from autotuner.agent.view import View

_WARM_UP = 0.15  # of the simulated time; its requests are not counted
_REQUESTS = 300  # wanted per repeat; chosen, as are the bounds below
_SHORTEST_S, _LONGEST_S = 20.0, 600.0
_MOST_STEPS = 6_000  # bounds the time a screening takes
_MOST_REQUESTS = 1_000
_LEAST_NOISE = 0.01  # of a simulated gain; chosen
# Of the noise of gains that is taken for common to all of them, as the repeats show it; the rest
# is each one's own, because few repeats tell a covariance badly. Chosen.
_COMMON = 0.8


def length_s(system: Systems) -> float:
    """How long to simulate the one environment of `system`."""
    rate = float(system.rate_rps[0])
    wanted = min(max(_REQUESTS / rate, _SHORTEST_S), _LONGEST_S)
    step_s = float(system.steps.t0_s[0] + system.steps.decode_s[0])
    return min(wanted, _MOST_STEPS * step_s, _MOST_REQUESTS / rate)


def played(
    system: Systems,
    mix: TokenMix,
    schedules: ScheduleTable,
    engines: EngineTable,
    repeats: int,
    seed: int,
) -> Floats:
    """Attainment [schedule, repeat] on the one environment of `system`, one engine per schedule.

    `mix` draws the requests. A repeat without requests counts as 0 for every schedule.
    """
    rng, until_s = np.random.default_rng(seed), length_s(system)
    n = len(schedules.max_num_seqs)
    rate = float(system.rate_rps[0])
    rows = [poisson_row(rng, rate, until_s, mix) for _ in range(repeats)]
    repeat, schedule = np.tile(np.arange(repeats), n), np.repeat(np.arange(n), repeats)
    many = system.take(np.zeros(len(repeat), dtype=np.int64))
    own = schedules.take(schedule)
    run = simulate(
        Traffic.stack(rows).take(repeat),
        own,
        many.serving(engines.take(schedule), own.memory_efficient),
        cap_s=until_s * 1.25,
        noise_rows=repeat,
        seed=int(rng.integers(2**31)),
    )
    shares = attainment(run.latencies, many.slo, (_WARM_UP * until_s, until_s))
    return np.nan_to_num(shares).reshape(n, repeats)


@dataclass(frozen=True)
class Screening:
    """What was played so far: `shares` [1 + row, repeat] of the pool's row 0 and of `rows`."""

    view: View = field(repr=False)
    pool: Ints = field(repr=False)
    repeats: int
    seed: int
    rows: Ints = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    shares: Floats = field(default_factory=lambda: np.zeros((1, 0)))

    def more(self, rows: Ints) -> Screening:
        """With these rows, on the same requests as the ones before."""
        wanted = rows if len(self.rows) else np.concatenate([[0], rows])
        reach, places = self.view.reach, self.pool[wanted]
        found = played(
            self.view.system,
            self.view.mix,
            reach.schedules(places),
            reach.engines(places),
            self.repeats,
            self.seed,
        )
        shares = np.vstack([self.shares, found]) if len(self.rows) else found
        return replace(self, rows=np.concatenate([self.rows, rows]), shares=shares)

    def readings(self) -> Readings:
        """What the rows gain over row 0.

        All met the same requests, so that their gains are high or low together: a repeat of a high
        load favours all that serve more. Who takes such noise for each one's own distrusts great
        gains, which vary most, and can't tell a great one from a small one.
        """
        gain = self.shares[1:] - self.shares[0]
        scale = np.sqrt(self.repeats * (self.repeats - 1))
        away = (gain - gain.mean(axis=1, keepdims=True)) / scale
        own = np.sqrt((1 - _COMMON) * (away**2).sum(axis=1))
        shared = np.sqrt(_COMMON) * away
        return Readings(self.rows, gain.mean(axis=1), np.hypot(own, _LEAST_NOISE), shared)
