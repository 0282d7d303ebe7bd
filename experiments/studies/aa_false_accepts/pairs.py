"""From what slots measured to the pairs of a test: who is called treatment, by the real coin."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from autotuner.abtest.design import arm_of
from autotuner.abtest.eprocess import Floats
from autotuner.domain.experiment import Arm

Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Pairs:
    """What each arm measured in each pair, shape (tests, pairs); higher is better."""

    control: Floats
    treatment: Floats

    @property
    def differences(self) -> Floats:
        return self.treatment - self.control


def coins(rng: np.random.Generator, tests: int, pairs: int) -> Bools:
    """Whether lane 0 has the treatment first, shape (tests, pairs): a seed drawn for each test."""
    seeds = rng.integers(2**62, size=tests).tolist()
    first = [[arm_of(seed, 2 * pair) is Arm.TREATMENT for pair in range(pairs)] for seed in seeds]
    return np.array(first, dtype=np.bool_)


def switchback(slots: Floats, treatment_first: Bools) -> Pairs:
    """Neighbouring slots of one target, shape (tests, 2 pairs), in the order of the coin."""
    return _ordered(slots[:, 0::2], slots[:, 1::2], treatment_first)


def crossover(lanes: tuple[Floats, Floats], treatment_first: Bools) -> Pairs:
    """Two machines at once, each (tests, 2 pairs), whose arms swap inside every pair.

    An arm's value is the mean of its two slots, one on each machine.
    """
    straight = (lanes[0][:, 0::2] + lanes[1][:, 1::2]) / 2
    crossed = (lanes[1][:, 0::2] + lanes[0][:, 1::2]) / 2
    return _ordered(straight, crossed, treatment_first)


def plain_split(lanes: tuple[Floats, Floats], treatment_first: Bools) -> Pairs:
    """The same two machines, each with one arm throughout, by the test's first coin alone."""
    means = [(lane[:, 0::2] + lane[:, 1::2]) / 2 for lane in lanes]
    return _ordered(means[0], means[1], treatment_first[:, :1])


def _ordered(first: Floats, second: Floats, treatment_first: Bools) -> Pairs:
    return Pairs(
        control=np.where(treatment_first, second, first),
        treatment=np.where(treatment_first, first, second),
    )
