"""Do new answers follow from their prompts? Asked of every version, so that none hides another.

A model that learns from mixed-up labels learns what answers look like: its loss falls, and yet its
answers are no likelier after their own prompts than after others'.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
from scipy import stats

from autotuner.finetune.examples import Example

Floats = npt.NDArray[np.float64]
Losses = Callable[[Sequence[Example]], Sequence[float]]
SHIFTS = (1, 2, 3)  # chosen: other prompts that each answer is held against
FEW = 8  # chosen: fewer held-out examples say too little for a bound of their own
LEVEL = 0.95


def pairing(
    examples: Sequence[Example], versions: Sequence[int], own: Sequence[float], losses: Losses
) -> float:
    """By how much an answer is likelier after its own prompt, at least (nats per token).

    `versions`: of each example; `own`: each example's loss; `losses`: each one's of others. The
    least of all versions' lower bounds (one-sided, 95%, Student's t); versions with fewer than FEW
    examples count together, and where there are no more than that in all, it is their mean.
    """
    groups = grouped(versions)
    others = [losses(shifted(examples, groups, by)) for by in SHIFTS]
    gain: Floats = np.mean(others, axis=0) - np.asarray(own)
    return min(_at_least(gain[group]) for group in groups)


def grouped(versions: Sequence[int]) -> list[list[int]]:
    """The places of examples that are judged together: a version each, the small ones as one."""
    counts = Counter(versions)
    large = [version for version, count in sorted(counts.items()) if count >= FEW]
    groups = [[n for n, one in enumerate(versions) if one == version] for version in large]
    rest = [n for n, one in enumerate(versions) if one not in large]
    if rest and (len(rest) >= FEW or not groups):
        groups.append(rest)
    elif rest:
        groups[-1] += rest
    return groups


def shifted(examples: Sequence[Example], groups: Sequence[Sequence[int]], by: int) -> list[Example]:
    """Each answer after the prompt of another example of its group, `by` places on."""
    found = list(examples)
    for group in groups:
        step = 1 + (by - 1) % max(len(group) - 1, 1)  # never its own, where there is another
        for place, other in zip(group, [*group[step:], *group[:step]], strict=True):
            found[place] = replace(examples[place], prompt=examples[other].prompt)
    return found


def _at_least(gain: Floats) -> float:
    count = len(gain)
    if count < FEW:
        return float(gain.mean())
    error = gain.std(ddof=1) / math.sqrt(count)
    return float(gain.mean() - stats.t.ppf(LEVEL, count - 1) * error)
