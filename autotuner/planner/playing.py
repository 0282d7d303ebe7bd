"""A plan played request by request in the discrete-step simulator: a second opinion on its size."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from autotuner.agent.des import simulate
from autotuner.agent.latencies import SLOTable, attainment
from autotuner.agent.schedule import ScheduleTable
from autotuner.agent.serving import Serving, ServingTable
from autotuner.agent.traffic import Traffic, poisson_row
from autotuner.planner.demand import Demand
from autotuner.planner.memory import Memory
from autotuner.planner.performance import Replica, steps_of
from autotuner.planner.sizing import Expected

# Chosen: enough requests to tell 95% from 90%, and few enough for seconds.
MOST_PLAYED = 8
_REQUESTS = 400
_WARM_UP = 0.2  # of the time; it has at least three answers' length
_LEAST_ANSWERS = 6.0


@dataclass(frozen=True)
class Played:
    """What the simulated requests met: a share in 0..1, seconds."""

    requests: int
    attainment: float
    ttft_p95_s: float
    gap_p95_s: float


def played(
    replica: Replica, memory: Memory, found: Expected, demand: Demand, seed: int = 0
) -> Played:
    """Poisson arrivals at the peak. The same seed, the same requests.

    Of many replicas a group of MOST_PLAYED with its share of the traffic.
    """
    replicas = min(found.replicas, MOST_PLAYED)
    rate = demand.peak_rps * replicas / found.replicas
    one = Serving(steps_of(replica, found.decoding), memory.kv_tokens, replicas=replicas)
    until_s = max(_REQUESTS / rate, _LEAST_ANSWERS * found.e2el_s)
    rng = np.random.default_rng(seed)
    row = poisson_row(rng, rate, until_s, demand.mix.sampler(0))
    run = simulate(
        Traffic.stack([row]),
        ScheduleTable.of([found.schedule]),
        ServingTable.of([one]),
        cap_s=until_s + 20 * found.e2el_s,
        seed=seed,
    ).latencies
    counted_s = (_WARM_UP * until_s, until_s)
    share = attainment(run, SLOTable.of([demand.slo]), counted_s)[0]
    seen = (run.arrival_s[0] >= counted_s[0]) & run.offered[0]
    if not seen.any():
        return Played(0, float("nan"), float("nan"), float("nan"))
    return Played(
        int(seen.sum()),
        float(share),
        float(np.quantile(run.ttft_s[0][seen], 0.95, method="lower")),
        float(np.quantile(run.gap_max_s[0][seen], 0.95, method="lower")),
    )
