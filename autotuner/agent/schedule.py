"""The scheduling knobs the agent understands, as numbers a simulator can use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

import numpy as np

from autotuner.agent.engine import ENGINE_KNOBS
from autotuner.agent.stepmodel import Bools, Floats, Ints
from autotuner.domain.knob_names import in_common_names
from autotuner.domain.knobs import Value

AGENT_KNOBS = (
    "max_num_seqs",
    "batch_timeout_ms",
    "max_num_batched_tokens",
    "schedule_policy",
    "memory_efficient",
    *ENGINE_KNOBS,
)
GROUPED = "length-grouped"

# Length-grouped: who waits longer than this comes first, whatever its length; the worker's figure.
AGEING_S = 2.0


@dataclass(frozen=True)
class Schedule:
    """One assignment of the scheduling knobs; the defaults are the bundled worker's."""

    max_num_seqs: int = 32
    batch_timeout_s: float = 0.0
    max_num_batched_tokens: int = 512
    length_grouped: bool = False
    memory_efficient: bool = False

    @classmethod
    def of(cls, settings: Mapping[str, Value]) -> Schedule:
        """The schedule that `settings` ask for, under any server's names for the knobs.

        A knob that they lack keeps its default.
        """
        base, settings = cls(), in_common_names(settings)
        return cls(
            int(settings.get("max_num_seqs", base.max_num_seqs)),
            float(settings.get("batch_timeout_ms", 0)) / 1000,
            int(settings.get("max_num_batched_tokens", base.max_num_batched_tokens)),
            settings.get("schedule_policy") == GROUPED,
            settings.get("memory_efficient", base.memory_efficient) is True,
        )


@dataclass(frozen=True)
class ScheduleTable:
    """Many schedules side by side: arrays of shape [environment]."""

    max_num_seqs: Ints
    batch_timeout_s: Floats
    max_num_batched_tokens: Ints
    length_grouped: Bools
    memory_efficient: Bools

    @classmethod
    def of(cls, schedules: Sequence[Schedule]) -> ScheduleTable:
        return cls(
            np.array([s.max_num_seqs for s in schedules], dtype=np.int64),
            np.array([s.batch_timeout_s for s in schedules], dtype=np.float64),
            np.array([s.max_num_batched_tokens for s in schedules], dtype=np.int64),
            np.array([s.length_grouped for s in schedules], dtype=np.bool_),
            np.array([s.memory_efficient for s in schedules], dtype=np.bool_),
        )

    def take(self, rows: Ints) -> ScheduleTable:
        return ScheduleTable(*(getattr(self, f.name)[rows] for f in fields(ScheduleTable)))


def priority(prompt_tokens: int, waited_s: float) -> int:
    """The order of requests under length grouping, least first; equals keep the order they had.

    Shortest power of two first, but who waited longer than AGEING_S comes before all.
    """
    return 0 if waited_s > AGEING_S else prompt_tokens.bit_length()
