"""From a step's plan to its tokens: builds the batch, has it run, draws.

It knows tensors, and nothing of queues or why a step looks as it does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from autotuner.worker.batch_sizes import padded_rows
from autotuner.worker.batching import in_row_order, make_batch
from autotuner.worker.executor import Executor
from autotuner.worker.sampling import DrawParams, draw
from autotuner.worker.scoring import Scores
from autotuner.worker.sequence import Chunk, StepPlan
from autotuner.worker.sequence import Sequence as RequestSequence
from autotuner.worker.settings import WorkerSettings

LogitsHook = Callable[[Sequence[Chunk], Tensor], None]


@dataclass(frozen=True)
class StepResult:
    """Each sequence that yields a token, with the token drawn, None where it isn't finite; and how
    many rows `batch_sizes` added.
    """

    drawn: list[tuple[RequestSequence, int | None]] = field(default_factory=list)
    padded_rows: int = 0


class Runner:
    """Has an executor run the steps.

    `on_logits`, when set, sees the chunks that yield a token and their logits [chunks, vocab_size].
    """

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self.on_logits: LogitsHook | None = None

    @torch.inference_mode()
    def run(self, plan: StepPlan, settings: WorkerSettings, scores: Scores) -> StepResult:
        """Computes a plan that has something to compute; scored rows go to `scores`."""
        chunks = in_row_order(plan.chunks)
        singles = sum(chunk.count == 1 for chunk in chunks)
        padded = padded_rows(singles, settings.batch_sizes, settings.max_num_seqs)
        device = self._executor.batch_device
        batch = make_batch(chunks, settings.attention, device, padded_singles=padded)
        logits = self._executor.forward(batch)
        padding = batch.attention.singles - singles
        yielding, last_rows = _last_rows(chunks, logits, scores)
        if not yielding:
            return StepResult([], padding)
        if len(yielding) < len(logits):
            logits = logits[last_rows]
        if self.on_logits is not None:
            self.on_logits(yielding, logits)
        tokens = draw(logits, [_draw_params(chunk) for chunk in yielding])
        drawn = [(chunk.sequence, token) for chunk, token in zip(yielding, tokens, strict=True)]
        return StepResult(drawn, padding)


def _last_rows(
    chunks: Sequence[Chunk], logits: Tensor, scores: Scores
) -> tuple[list[Chunk], list[int]]:
    """The chunks that yield a token, each with its row of the logits; scored rows are seen."""
    yielding, rows, row = [], [], 0
    for chunk in chunks:
        first, row = row, row + len(chunk.wanted)
        if chunk.sequence.score_from is not None:
            scores.see(chunk, logits[first:row])
        if chunk.yields_token:
            yielding.append(chunk)
            rows.append(row - 1)
    return yielding, rows


def _draw_params(chunk: Chunk) -> DrawParams:
    sequence, sampling = chunk.sequence, chunk.sequence.sampling
    return DrawParams(
        sampling.temperature, sampling.top_k, sampling.top_p, sequence.seed, sequence.output_tokens
    )
