"""One request's state inside the engine, and what a step does to it; no torch, no clock."""

from __future__ import annotations

from dataclasses import dataclass

from autotuner.worker.messages import FinishReason, SamplingParams

NO_SLOT = -1


@dataclass(eq=False)
class Sequence:
    """A request from its arrival in the engine to its end.

    `tokens` is the prompt and what was generated; K and V of the first `computed` of them are in
    the cache. Times are on the engine's monotonic clock, s.
    """

    request_id: str
    tokens: list[int]
    prompt_tokens: int
    sampling: SamplingParams
    seed: int
    enqueued_s: float
    admitted_s: float = 0.0
    slot: int = NO_SLOT
    computed: int = 0
    last_step: int = 0

    @property
    def output_tokens(self) -> int:
        return len(self.tokens) - self.prompt_tokens

    @property
    def pending_tokens(self) -> int:
        """Tokens whose K and V are not in the cache yet; 1 while decoding."""
        return len(self.tokens) - self.computed

    @property
    def total_tokens(self) -> int:
        """The longest that it can get."""
        return self.prompt_tokens + self.sampling.max_tokens

    def finish_reason(self, eos_token_ids: frozenset[int]) -> FinishReason | None:
        """Why it ends with its last token, or None when it goes on."""
        last = self.tokens[-1]
        if last in self.sampling.stop_token_ids:
            return "stop"
        if last in eos_token_ids and not self.sampling.ignore_eos:
            return "stop"
        return "length" if self.output_tokens >= self.sampling.max_tokens else None


@dataclass(frozen=True)
class Chunk:
    """Tokens [start, start + count) of a sequence, to be computed in one step."""

    sequence: Sequence
    start: int
    count: int

    @property
    def end(self) -> int:
        return self.start + self.count

    @property
    def yields_token(self) -> bool:
        """Whether it reaches the sequence's last token, so that the next one can be drawn."""
        return self.end == len(self.sequence.tokens)


@dataclass(frozen=True)
class StepPlan:
    """What one step computes: a token for each decoding sequence, and chunks of prompts."""

    decodes: tuple[Chunk, ...] = ()
    prefills: tuple[Chunk, ...] = ()

    @property
    def chunks(self) -> tuple[Chunk, ...]:
        return self.decodes + self.prefills

    @property
    def prefill_tokens(self) -> int:
        return sum(chunk.count for chunk in self.prefills)

    @property
    def tokens(self) -> int:
        return len(self.decodes) + self.prefill_tokens

    @property
    def context_tokens(self) -> int:
        """Cached tokens that attention reads, summed over the sequences."""
        return sum(chunk.end for chunk in self.chunks)

    @property
    def prefill_pairs(self) -> int:
        """Pairs of a prompt token and a token that it attends to: what chunks cost in attention."""
        return sum(c.count * (2 * c.end - c.count + 1) // 2 for c in self.prefills)
