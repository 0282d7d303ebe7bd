"""What a step costs beyond its linear model: for truths that a calibrated model does not have."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from autotuner.agent.stepmodel import Floats, Ints


class Crowding(Protocol):
    """Seconds that a step takes beyond the step model, without noise."""

    def extra_s(self, decoding: Ints, tokens: Ints) -> Floats:
        """Of steps with these numbers of decoding sequences and prompt tokens: one array each."""
        ...


def extra_s(crowding: Crowding | None, decoding: int, tokens: int) -> float:
    """The same for one step; 0 without crowding."""
    if crowding is None:
        return 0.0
    return float(crowding.extra_s(np.array([decoding]), np.array([tokens]))[0])
