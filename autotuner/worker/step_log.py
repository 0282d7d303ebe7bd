"""The log of engine steps: what calibration needs to know of each."""

from __future__ import annotations

from dataclasses import dataclass, fields

from autotuner.worker.messages import StepOutput
from autotuner.worker.observability import StepKind


@dataclass(frozen=True, slots=True)
class StepRecord:
    """One engine step; `at` is the wall clock at its end, `replica` the engine that made it."""

    at: float
    step_s: float
    decode_seqs: int
    prefill_tokens: int
    context_tokens: int
    prefill_pairs: int
    generation: int
    replica: int


_FIELDS = tuple(field.name for field in fields(StepRecord))


def record_of(step: StepOutput) -> StepRecord:
    return StepRecord(*(getattr(step, name) for name in _FIELDS))


def kind_of(step: StepOutput) -> StepKind:
    if not step.prefill_tokens:
        return "decode"
    return "mixed" if step.decode_seqs else "prefill"
