"""One request's state inside the engine, and what a step does to it; no torch, no clock."""

from __future__ import annotations

from dataclasses import dataclass, field

from autotuner.worker.kv_layout import TOP_KEYS, WINDOW_TOKENS, block_count
from autotuner.worker.messages import FinishReason, SamplingParams
from autotuner.worker.prefix_keys import PrefixKeys
from autotuner.worker.settings import AttentionMode


@dataclass(eq=False)
class Sequence:
    """A request from its arrival in the engine to its end.

    `tokens` is the prompt and what was generated; K and V of the first `computed` of them are in
    the cache, in `blocks`, in order. Times are on the engine's monotonic clock, s.

    A sequence that was preempted has no blocks and nothing computed; its tokens stay. `admitted_s`
    and `cached_tokens` tell of its first admission.
    """

    request_id: str
    tokens: list[int]
    prompt_tokens: int
    sampling: SamplingParams
    seed: int
    enqueued_s: float
    admitted_s: float = 0.0
    blocks: list[int] = field(default_factory=list)
    computed: int = 0
    cached_tokens: int = 0  # of the prompt: found in the prefix cache
    preemptions: int = 0
    last_step: int = 0
    score_from: int | None = None  # a text to be scored: its tokens from here on
    prefix: PrefixKeys = field(default_factory=PrefixKeys)

    @property
    def output_tokens(self) -> int:
        return len(self.tokens) - self.prompt_tokens

    @property
    def pending_tokens(self) -> int:
        """Tokens whose K and V are not in the cache yet; 1 while decoding."""
        return len(self.tokens) - self.computed

    @property
    def is_decoding(self) -> bool:
        """Whether all but the last token drawn is in the cache."""
        return self.computed == len(self.tokens) - 1 >= self.prompt_tokens

    @property
    def reusable_tokens(self) -> int:
        """How many of its first tokens need no computing: no logits are wanted after them."""
        if self.score_from is None:
            return len(self.tokens) - 1
        return self.score_from - 1

    @property
    def total_tokens(self) -> int:
        """The longest that it can get."""
        return self.prompt_tokens + self.sampling.max_tokens

    @property
    def most_blocks(self) -> int:
        """Blocks that it can come to need; K and V of its very last token are never computed."""
        return block_count(self.total_tokens - 1)

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

    @property
    def wanted(self) -> range:
        """Tokens after which logits are wanted: the last one of all, or all before scored ones."""
        if self.sequence.score_from is not None:
            return range(min(self.end, max(self.start, self.sequence.score_from - 1)), self.end)
        return range(self.end - self.yields_token, self.end)


@dataclass
class StepCounts:
    """What scheduling did besides making plans. Prefix numbers are of first admissions only."""

    preemptions: int = 0
    prefix_queries: int = 0  # prompt tokens looked up in the prefix cache
    prefix_hits: int = 0  # of these, tokens found there


@dataclass(frozen=True)
class StepPlan:
    """What one step computes: a token for each decoding sequence, and chunks of prompts.

    The prefills of a sequence that was preempted include the tokens it had drawn before.
    """

    decodes: tuple[Chunk, ...] = ()
    prefills: tuple[Chunk, ...] = ()
    attention: AttentionMode = "full"

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
        """Cached tokens whose K and V attention reads, summed over the sequences.

        Under top_k these are the keys that the queries of one head keep, if no two queries keep
        the same; the pass over the signs of all keys, a 32nd of their bytes in bfloat16, is not
        counted.
        """
        return sum(_tokens_read(chunk, self.attention) for chunk in self.chunks)

    @property
    def prefill_pairs(self) -> int:
        """Pairs of a prompt token and a token that it attends to: what chunks cost in attention.

        Under top_k all pairs count, because all are scored.
        """
        return sum(_pairs(chunk, self.attention) for chunk in self.prefills)


def _tokens_read(chunk: Chunk, mode: AttentionMode) -> int:
    if mode == "sliding_window":
        return min(chunk.end, chunk.count - 1 + WINDOW_TOKENS)
    if mode == "top_k":
        return min(chunk.end, chunk.count * TOP_KEYS)
    return chunk.end


def _pairs(chunk: Chunk, mode: AttentionMode) -> int:
    if mode != "sliding_window":
        return chunk.count * (2 * chunk.end - chunk.count + 1) // 2
    return _windowed_pairs(chunk.end) - _windowed_pairs(chunk.start)


def _windowed_pairs(tokens: int) -> int:
    """Of a text of so many tokens, each with those of its window."""
    growing = min(tokens, WINDOW_TOKENS)
    return growing * (growing + 1) // 2 + (tokens - growing) * WINDOW_TOKENS
