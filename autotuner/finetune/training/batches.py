"""Which examples make an update, and which of them a process takes at a time. Pure, seeded.

Every process computes the same plan of batches, so that none has to be told its part.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from autotuner.finetune.training.plan import TrainingPlan
from autotuner.finetune.training.tokens import TokenExample


@dataclass(frozen=True)
class Batch:
    """One update, from 1: what this process computes (`mine`, a micro-batch after the other; an
    empty one keeps it in step with the others), and the size of the whole batch.
    """

    step: int
    epoch: float
    mine: tuple[tuple[TokenExample, ...], ...]
    answer_tokens: int
    tokens: int


def steps_in_all(examples: int, plan: TrainingPlan) -> int:
    """Updates of a run; the last batch of an epoch may be smaller."""
    return plan.epochs * -(-examples // plan.batch_size)


def batches(
    examples: Sequence[TokenExample], plan: TrainingPlan, rank: int, after: int = 0
) -> Iterator[Batch]:
    """The updates after number `after`; the order is drawn anew for each epoch."""
    per_epoch = steps_in_all(len(examples), plan) // plan.epochs
    for epoch in range(after // per_epoch, plan.epochs):
        order = np.random.default_rng((plan.seed, epoch)).permutation(len(examples))
        for index in range(per_epoch):
            step = epoch * per_epoch + index + 1
            if step <= after:
                continue
            chosen = order[index * plan.batch_size : (index + 1) * plan.batch_size]
            yield _batch([examples[i] for i in chosen], plan, rank, step, step / per_epoch)


def _batch(
    chosen: list[TokenExample], plan: TrainingPlan, rank: int, step: int, epoch: float
) -> Batch:
    # Dealt out by length: processes get parts of like size, micro-batches little padding.
    chosen.sort(key=lambda example: len(example.ids), reverse=True)
    mine = chosen[rank :: plan.processes]
    most = -(-len(chosen) // plan.processes)
    starts = range(0, most, plan.micro_batch)
    return Batch(
        step,
        epoch,
        tuple(tuple(mine[start : start + plan.micro_batch]) for start in starts),
        answer_tokens=sum(example.answer_tokens for example in chosen),
        tokens=sum(len(example.ids) for example in chosen),
    )
