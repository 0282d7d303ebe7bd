"""The brain of one target: pure decisions from what is known and what was seen."""

from __future__ import annotations

from autotuner.tuner.brain import Tuner
from autotuner.tuner.faults import blamed, unapplied
from autotuner.tuner.rebuilds import needs_rebuild, rebuild_s
from autotuner.tuner.restarts import coming
from autotuner.tuner.values import (
    Action,
    Decision,
    Fdr,
    Observation,
    Restart,
    Rules,
    Traffic,
    TunerState,
    WorkloadMark,
)

__all__ = [
    "Action",
    "Decision",
    "Fdr",
    "Observation",
    "Restart",
    "Rules",
    "Traffic",
    "Tuner",
    "TunerState",
    "WorkloadMark",
    "blamed",
    "coming",
    "needs_rebuild",
    "rebuild_s",
    "unapplied",
]
