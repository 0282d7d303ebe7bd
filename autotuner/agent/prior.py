"""What is expected of a target before its own steps tell."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from autotuner.agent.stepmodel import CPU_PRIOR, StepModel
from autotuner.domain.knobs import Settings


@dataclass(frozen=True)
class Prior:
    """`model`: of one engine's steps. `kv_tokens`: what its KV cache holds; inf: no limit known."""

    model: StepModel = CPU_PRIOR
    kv_tokens: float = math.inf


# Of the engine that these settings make.
PriorOf = Callable[[Settings], Prior]


def usual(_settings: Settings) -> Prior:
    """That of the bundled worker on a CPU, where nothing better is known."""
    return Prior()
