"""Sequences of one word and a scheduler that is driven by hand."""

from __future__ import annotations

from autotuner.worker.messages import SamplingParams, TokenOutput
from autotuner.worker.scheduler import Scheduler
from autotuner.worker.sequence import Sequence, StepPlan
from autotuner.worker.settings import WorkerSettings

EOS = 2
WORD = 7
MAX_LEN = 400


def sequence(name: str, prompt: int = 10, max_tokens: int = 4, at: float = 0.0) -> Sequence:
    sampling = SamplingParams(max_tokens=max_tokens, temperature=0.0)
    return Sequence(name, [WORD] * prompt, prompt, sampling, seed=0, enqueued_s=at)


def scheduler(blocks: int = 1000, prefix_caching: bool = False, **settings: object) -> Scheduler:
    knobs = WorkerSettings(**settings)  # type: ignore[arg-type]
    return Scheduler(knobs, blocks, MAX_LEN, [EOS], prefix_caching)


def finish(house: Scheduler, plan: StepPlan, token: int | None = WORD) -> list[TokenOutput]:
    drawn = [(chunk.sequence, token) for chunk in plan.chunks if chunk.yields_token]
    return house.finish_step(plan, drawn)


def names(plan: StepPlan) -> list[str]:
    return [chunk.sequence.request_id for chunk in plan.chunks]
