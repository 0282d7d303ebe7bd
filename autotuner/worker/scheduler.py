"""Which tokens the next step computes: continuous batching, chunked prefill, preemption.

Pure bookkeeping: no torch, no clock (times come in). The settings are an attribute; whoever swaps
it does so between two steps. A smaller max_num_seqs never evicts what already runs; only a cache
without a free block does, and what was evicted is computed again and goes on as if nothing had
happened.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable

from autotuner.worker.kv_blocks import BlockPool
from autotuner.worker.kv_layout import BLOCK_TOKENS, block_count
from autotuner.worker.kv_ledger import KVLedger
from autotuner.worker.messages import TokenOutput
from autotuner.worker.queue_order import in_order
from autotuner.worker.sequence import Chunk, Sequence, StepCounts, StepPlan
from autotuner.worker.settings import WorkerSettings

# memory_efficient: of all blocks, the share that admission leaves free for what runs to grow into;
# chosen.
WATERMARK_RATIO = 0.01


class Scheduler:
    """The waiting and the running sequences, and the blocks of the KV cache.

    `running` is in the order of admission, and the last admitted is preempted first. So the first
    always gets on, and what is preempted is the first to be admitted again: nothing waits for ever.
    """

    def __init__(
        self,
        settings: WorkerSettings,
        blocks: int,
        max_model_len: int,
        eos_token_ids: Iterable[int] = (),
        prefix_caching: bool = True,
    ) -> None:
        """`blocks` counts the scratch block; raises ValueError if one sequence can't fit."""
        if blocks - 1 < block_count(max_model_len):
            raise ValueError(
                f"blocks={blocks}: give at least {block_count(max_model_len) + 1}, for one "
                f"sequence of max_model_len={max_model_len}"
            )
        self.settings = settings
        self.waiting: OrderedDict[str, Sequence] = OrderedDict()
        self.running: dict[str, Sequence] = {}
        self._kv = KVLedger(BlockPool(blocks, prefix_caching))
        self._watermark_blocks = max(1, int(blocks * WATERMARK_RATIO))
        self._prefix_caching = prefix_caching
        self._max_model_len = max_model_len
        self._eos_token_ids = frozenset(eos_token_ids)
        self._ended: list[TokenOutput] = []  # ended outside a step: refused, aborted
        self._counts = StepCounts()
        self._step = 0

    @property
    def kv_usage(self) -> float:
        """The share of the blocks that sequences hold, 0 to 1."""
        return self._kv.used_ratio

    def add(self, sequence: Sequence) -> None:
        """Queues it; one that can't be served ends at once with an error in the next outputs."""
        problem = self._problem(sequence)
        if problem is None:
            self.waiting[sequence.request_id] = sequence
        else:
            self.refuse(sequence.request_id, problem)

    def refuse(self, request_id: str, problem: str) -> None:
        self._ended.append(TokenOutput(request_id, None, "error", error=problem))

    def abort(self, request_id: str) -> None:
        """Ends it and frees its blocks at once; an unknown or finished one is no error."""
        sequence = self.waiting.pop(request_id, None) or self.running.get(request_id)
        if sequence is not None:
            self._end(sequence)
            self._ended.append(TokenOutput(request_id, None, "abort"))

    def forget(self, sequence: Sequence) -> list[int]:
        """Takes its blocks away, and out of the prefix cache, because their numbers are spoilt.

        Returns those that nobody else holds, for the caller to zero before the next step. The
        sequence must be one that `finish_step` is about to end.
        """
        return self._kv.forget(sequence)

    def take_counts(self) -> StepCounts:
        """What was counted since the last call."""
        counts, self._counts = self._counts, StepCounts()
        return counts

    def wait_s(self, now: float) -> float | None:
        """How long until there is something to do: 0 at once, None not before a message comes."""
        if self.running or self._ended:
            return 0.0
        if not self.waiting:
            return None
        if self._batch_is_ready(now, self._places()):
            return 0.0
        return max(0.0, self._first_waiting().enqueued_s + self._batch_timeout_s() - now)

    def schedule(self, now: float) -> StepPlan:
        """The next step, within max_num_batched_tokens; empty when there is nothing to compute."""
        self._step += 1
        self._make_room()
        self._admit(now)
        decoding: list[Sequence] = []
        prefilling: list[Sequence] = []
        for sequence in self.running.values():
            (decoding if sequence.is_decoding else prefilling).append(sequence)
        budget = self.settings.max_num_batched_tokens
        if len(decoding) > budget:
            decoding.sort(key=lambda s: s.last_step)
            del decoding[budget:]
        decodes = tuple(Chunk(s, s.computed, 1) for s in decoding)
        prefills = self._prefills(prefilling, budget - len(decodes), now)
        return StepPlan(decodes, prefills, self.settings.attention)

    def finish_step(
        self, plan: StepPlan, drawn: Iterable[tuple[Sequence, int | None]]
    ) -> list[TokenOutput]:
        """Books the step: each sequence's new token, or None where its logits were not finite.

        Returns this step's tokens and whatever ended since the last one.
        """
        outputs, self._ended = self._ended, []
        for chunk in plan.chunks:
            sequence = chunk.sequence
            if sequence.blocks:  # it may have ended since it was scheduled
                sequence.computed = chunk.end
                sequence.last_step = self._step
                self._kv.publish(sequence, plan.attention)
        outputs += [self._accept(s, token) for s, token in drawn if self._runs(s)]
        return outputs

    def _runs(self, sequence: Sequence) -> bool:
        return self.running.get(sequence.request_id) is sequence

    def _accept(self, sequence: Sequence, token: int | None) -> TokenOutput:
        request_id = sequence.request_id
        if token is None:
            self._kv.forget(sequence)
            self._end(sequence)
            problem = "the model's output is not finite: its weights or their dtype don't suit"
            return TokenOutput(request_id, None, "error", error=problem)
        sequence.tokens.append(token)
        finish = sequence.finish_reason(self._eos_token_ids)
        if finish:
            self._end(sequence)
        if sequence.output_tokens > 1:
            return TokenOutput(request_id, token, finish)
        return TokenOutput(
            request_id, token, finish, sequence.admitted_s, cached_tokens=sequence.cached_tokens
        )

    def _end(self, sequence: Sequence) -> None:
        self.running.pop(sequence.request_id, None)
        self._kv.release(sequence)

    def _problem(self, sequence: Sequence) -> str | None:
        request_id, total = sequence.request_id, sequence.total_tokens
        if request_id in self.waiting or request_id in self.running:
            return f"request_id={request_id!r}: already in use: give each request its own"
        if not sequence.prompt_tokens:
            return "prompt: empty: give at least one token"
        if sequence.sampling.max_tokens < 1:
            return f"max_tokens={sequence.sampling.max_tokens}: give at least 1"
        if total > self._max_model_len:
            return (
                f"prompt of {sequence.prompt_tokens} tokens and max_tokens="
                f"{sequence.sampling.max_tokens}: more than max_model_len={self._max_model_len}: "
                "shorten one of them"
            )
        return None

    def _make_room(self) -> None:
        """A block for the next token of each sequence whose blocks are full, the eldest first.

        Where none is free, the last admitted sequence makes way.
        """
        full = [s for s in self.running.values() if s.computed == len(s.blocks) * BLOCK_TOKENS]
        for sequence in full:
            while self._runs(sequence) and not self._kv.grow(sequence):
                self._preempt_last()

    def _preempt_last(self) -> None:
        request_id, sequence = self.running.popitem()
        self._kv.release(sequence)
        sequence.preemptions += 1
        self.waiting[request_id] = sequence
        self.waiting.move_to_end(request_id, last=False)
        self._counts.preemptions += 1

    def _admit(self, now: float) -> None:
        places = self._places()
        if places <= 0 or not self._batch_is_ready(now, places):
            return
        careful = not self.settings.memory_efficient
        promised = self._promised_blocks() if careful else 0
        queue = in_order(self.waiting.values(), self.settings.schedule_policy, now)
        for sequence in queue[:places]:
            needed = sequence.most_blocks if careful else block_count(len(sequence.tokens))
            spare = promised if careful else self._watermark()
            if not self._kv.admit(sequence, self.settings.attention, needed, spare):
                break
            promised += sequence.most_blocks - len(sequence.blocks)
            self._book_admission(sequence, now)

    def _promised_blocks(self) -> int:
        """Blocks that running sequences may still need: without memory_efficient, kept for them."""
        return sum(s.most_blocks - len(s.blocks) for s in self.running.values())

    def _watermark(self) -> int:
        """None for a lone sequence, which must always fit."""
        return self._watermark_blocks if self.running else 0

    def _book_admission(self, sequence: Sequence, now: float) -> None:
        del self.waiting[sequence.request_id]
        self.running[sequence.request_id] = sequence
        if sequence.preemptions:
            return
        sequence.admitted_s = now
        sequence.cached_tokens = sequence.computed
        if self._prefix_caching:
            self._counts.prefix_queries += sequence.prompt_tokens
            self._counts.prefix_hits += sequence.cached_tokens

    def _places(self) -> int:
        return self.settings.max_num_seqs - len(self.running)

    def _batch_is_ready(self, now: float, places: int) -> bool:
        if not self.waiting or len(self.waiting) >= places:
            return True
        first = self._first_waiting()
        return first.preemptions > 0 or now - first.enqueued_s >= self._batch_timeout_s()

    def _batch_timeout_s(self) -> float:
        return self.settings.batch_timeout_ms / 1000

    def _first_waiting(self) -> Sequence:
        return next(iter(self.waiting.values()))

    def _prefills(
        self, sequences: Iterable[Sequence], budget: int, now: float
    ) -> tuple[Chunk, ...]:
        chunks: list[Chunk] = []
        for sequence in in_order(sequences, self.settings.schedule_policy, now):
            if budget <= 0:
                break
            count = min(budget, sequence.pending_tokens)
            chunks.append(Chunk(sequence, sequence.computed, count))
            budget -= count
        return tuple(chunks)
