"""When tests end, many at once, by the rules of `abtest.conclusion` for the primary measure."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import stdtrit

from autotuner.abtest.eprocess import Floats, log_e_paths
from autotuner.abtest.evidence import FEWEST

THRESHOLD = -math.log(0.05)
Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Ended:
    """Per test: after how many pairs it ended, and with what."""

    pairs: Ints
    accepted: Flags
    harmful: Flags


def ended(differences: Floats, scale: float, level: float) -> Ended:
    """Tests of at most `differences.shape[1]` pairs, shape (tests, pairs); `level` 0: no giving up.

    As `Evidence.promising` has it: a test is given up where pairs at the upper end of what was seen
    would not be enough for a gain, nor pairs like the mean for harm.
    """
    budget = differences.shape[1]
    gain, harm = (_first(log_e_paths(side, scale), 0) for side in (differences, -differences))
    end = np.minimum(np.minimum(gain, harm), budget)
    for pairs in range(FEWEST, budget) if level > 0 else ():
        going = np.flatnonzero(end > pairs)
        if going.size:
            given_up = ~_promising(differences[going], pairs, scale, level)
            end[going[given_up]] = pairs
    return Ended(end, gain <= end, harm <= end)


def _promising(differences: Floats, pairs: int, scale: float, level: float) -> Flags:
    seen, budget = differences[:, :pairs], differences.shape[1]
    mean = seen.mean(axis=1)
    hoped = mean + stdtrit(pairs - 1, level) * seen.std(axis=1, ddof=1) / math.sqrt(pairs)

    def reached(side: int, size: Floats) -> Flags:
        path = np.hstack((side * seen, np.repeat(size[:, None], budget - pairs, axis=1)))
        found: Flags = _first(log_e_paths(path, scale), pairs) <= budget
        return found & (size > 0)

    return reached(1, hoped) | reached(-1, -mean)


def _first(log_e: Floats, after: int) -> Ints:
    """The first pair after `after` at which the evidence is enough; beyond the last where none."""
    enough = log_e[:, after:] >= THRESHOLD
    first: Ints = after + 1 + enough.argmax(axis=1)
    first[~enough.any(axis=1)] = log_e.shape[1] + 1
    return first
