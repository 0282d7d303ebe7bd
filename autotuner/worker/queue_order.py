"""In which order sequences are admitted and prompts are read; pure."""

from __future__ import annotations

from collections.abc import Iterable

from autotuner.worker.pipeline.lengths import length_group
from autotuner.worker.sequence import Sequence
from autotuner.worker.settings import SchedulePolicy

# length-grouped: who waits longer than this comes first, whatever its length; chosen.
AGEING_S = 2.0


def in_order(sequences: Iterable[Sequence], policy: SchedulePolicy, now: float) -> list[Sequence]:
    """As they come or, length-grouped, the shortest power of two first.

    Those that were preempted or have aged come before all others, so that nobody starves.
    """
    if policy == "fcfs":
        return list(sequences)
    return sorted(sequences, key=lambda s: _rank(s, now))


def _rank(sequence: Sequence, now: float) -> int:
    first = sequence.preemptions or now - sequence.enqueued_s > AGEING_S
    return 0 if first else length_group(sequence.prompt_tokens)
