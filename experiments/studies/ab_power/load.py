"""A series that load drives: pairs whose differences come in part from a load that is seen."""

from __future__ import annotations

import math

import numpy as np

from autotuner.abtest.eprocess import Floats

REQUESTS_PER_SLOT = 120
LOAD_SD = 0.3  # of a slot's log load


def load_driven(
    rng: np.random.Generator, effect: float, explained: float, tests: int, pairs: int
) -> tuple[Floats, Floats]:
    """Differences of sd 1 and mean `effect`, (tests, pairs); covariates, (tests, pairs, 1).

    `explained`: the share of the differences' variance that the true load causes. What is seen of
    it is the number of requests that came (Poisson), as the log ratio of treatment to control.
    """
    load = LOAD_SD * rng.standard_normal((2, tests, pairs))
    sent = np.maximum(rng.poisson(REQUESTS_PER_SLOT * np.exp(load)), 1)
    by_load = -(load[1] - load[0]) / (LOAD_SD * math.sqrt(2))  # more load, longer latency
    own = rng.standard_normal((tests, pairs))
    differences = effect + math.sqrt(explained) * by_load + math.sqrt(1 - explained) * own
    return differences, (np.log(sent[1]) - np.log(sent[0]))[..., None]
