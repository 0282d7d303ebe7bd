"""Trying settings in the discrete-step simulator, all on the same requests.

Every settings serves the same requests with the same noise as the others (common random numbers),
so that few repeats tell them apart. Many short repeats cost less than few long ones: a step takes
the simulator about as long for a hundred environments as for one.
"""

from __future__ import annotations

import numpy as np

from autotuner.agent.des import simulate
from autotuner.agent.engine import EngineTable
from autotuner.agent.latencies import attainment
from autotuner.agent.schedule import ScheduleTable
from autotuner.agent.stepmodel import Floats
from autotuner.agent.systems import Systems
from autotuner.agent.traffic import TokenMix, Traffic, poisson_row

_WARM_UP = 0.15  # of the simulated time; its requests are not counted
_REQUESTS = 100  # wanted per repeat; chosen, as are the bounds below
_SHORTEST_S, _LONGEST_S = 20.0, 600.0
_MOST_STEPS = 3_000  # bounds the time a screening takes
_MOST_REQUESTS = 1_000


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
