"""From a step's plan to its tokens: builds the tensors, runs the decoder, draws.

It knows devices and tensors, and nothing of queues, settings or why a step looks as it does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from autotuner.worker.attention import plan_attention
from autotuner.worker.kv import KVCache
from autotuner.worker.model import Batch, Decoder
from autotuner.worker.sampling import DrawParams, draw
from autotuner.worker.sequence import Chunk, StepPlan
from autotuner.worker.sequence import Sequence as RequestSequence

LogitsHook = Callable[[Sequence[Chunk], Tensor], None]


class Runner:
    """A decoder with its cache.

    `on_logits`, when set, sees the chunks that yield a token and their logits [chunks, vocab_size].
    """

    def __init__(self, decoder: Decoder, cache: KVCache) -> None:
        self._decoder, self._cache = decoder, cache
        self.on_logits: LogitsHook | None = None

    @torch.inference_mode()
    def run(self, plan: StepPlan) -> list[tuple[RequestSequence, int | None]]:
        """Each sequence that yields a token, with the token drawn, None where it isn't finite."""
        # Rows are laid out as attention reads them: single tokens by slot, then longer chunks.
        chunks = sorted(plan.chunks, key=lambda c: (c.count > 1, c.sequence.slot))
        yielding = [chunk for chunk in chunks if chunk.yields_token]
        logits = self._decoder.forward(self._batch(chunks), self._cache)
        if not yielding:
            return []
        if self.on_logits is not None:
            self.on_logits(yielding, logits)
        tokens = draw(logits, [_draw_params(chunk) for chunk in yielding])
        for chunk, token in zip(yielding, tokens, strict=True):
            if token is None:
                self._cache.clear(chunk.sequence.slot)
        return [(chunk.sequence, token) for chunk, token in zip(yielding, tokens, strict=True)]

    def _batch(self, chunks: Sequence[Chunk]) -> Batch:
        token_ids: list[int] = []
        positions: list[int] = []
        slots: list[int] = []
        logits_rows: list[int] = []
        for chunk in chunks:
            token_ids += chunk.sequence.tokens[chunk.start : chunk.end]
            positions += range(chunk.start, chunk.end)
            slots += [chunk.sequence.slot] * chunk.count
            if chunk.yields_token:
                logits_rows.append(len(token_ids) - 1)
        singles = [(c.sequence.slot, c.end) for c in chunks if c.count == 1]
        longer = [(c.sequence.slot, c.start, c.count) for c in chunks if c.count > 1]
        positions_there = self._tensor(positions)
        return Batch(
            self._tensor(token_ids),
            positions_there,
            self._cache.flat_rows(self._tensor(slots), positions_there),
            self._tensor(logits_rows),
            plan_attention(singles, longer, self._decoder.dtype, self._decoder.device),
        )

    def _tensor(self, values: Sequence[int]) -> Tensor:
        return torch.tensor(values, dtype=torch.int64, device=self._decoder.device)


def _draw_params(chunk: Chunk) -> DrawParams:
    sequence, sampling = chunk.sequence, chunk.sequence.sampling
    return DrawParams(
        sampling.temperature, sampling.top_k, sampling.top_p, sequence.seed, sequence.output_tokens
    )
