"""Which candidate is worth an experiment, from what is believed of its gain. Pure figures.

A test costs goodput while it runs when its candidate is worse, so that a candidate is worth its
expected improvement less a share of its expected loss.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import norm

from autotuner.agent.stepmodel import Bools, Floats


@dataclass(frozen=True)
class Appetite:
    """What makes a candidate worth a test; all chosen.

    `least_chance`: of a gain of `min_gain` or more; below it for all, the proposer rests.
    `most_harm`: the greatest chance of a loss of more than `harm`. `loss_weight`: what a point
    lost during a test weighs against a point gained for good.
    """

    least_chance: float = 0.05
    harm: float = 0.05
    most_harm: float = 0.25
    loss_weight: float = 0.3


def scores(
    mean: Floats, deviation: Floats, charge: Floats, hurdle: float, cap: float, a: Appetite
) -> Floats:
    """Worth per candidate: expected improvement above `hurdle`, less the weighted expected loss.

    `mean`, `deviation` of the gain, of which no more than `cap` is possible; `charge` is what the
    change costs, in the same units.
    """
    beyond = np.maximum(cap, hurdle + charge)
    gain = expected_above(mean - charge - hurdle, deviation) - expected_above(
        mean - beyond, deviation
    )
    return gain - a.loss_weight * expected_above(-mean, deviation)


def allowed(mean: Floats, deviation: Floats, charge: Floats, min_gain: float, a: Appetite) -> Bools:
    """Candidates whose chance of a gain is high enough and of harm low enough."""
    gains = norm.sf(min_gain, mean - charge, deviation) >= a.least_chance
    return np.asarray(gains & (norm.cdf(-a.harm, mean, deviation) <= a.most_harm))


def expected_above(mean: Floats, deviation: Floats) -> Floats:
    """E[max(x, 0)] of a normal x."""
    z = mean / deviation
    return np.asarray(mean * norm.cdf(z) + deviation * norm.pdf(z))
