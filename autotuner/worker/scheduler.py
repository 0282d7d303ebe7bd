"""Which tokens the next step computes: continuous batching with chunked prefill.

Pure bookkeeping: no torch, no clock (times come in). The settings are an attribute; whoever swaps
it does so between two steps, and a smaller limit never evicts what already runs.
"""

from __future__ import annotations

from collections.abc import Iterable

from autotuner.worker.kv_slots import SlotPool
from autotuner.worker.messages import TokenOutput
from autotuner.worker.sequence import NO_SLOT, Chunk, Sequence, StepPlan
from autotuner.worker.settings import WorkerSettings

# length-grouped: who waits longer than this comes first, whatever its length; chosen.
AGEING_S = 2.0


class Scheduler:
    """The waiting and the running sequences, and the slots of the KV cache."""

    def __init__(
        self,
        settings: WorkerSettings,
        slots: int,
        max_model_len: int,
        eos_token_ids: Iterable[int] = (),
    ) -> None:
        self.settings = settings
        self.waiting: dict[str, Sequence] = {}
        self.running: dict[str, Sequence] = {}
        self._slots = SlotPool(slots)
        self._max_model_len = max_model_len
        self._eos_token_ids = frozenset(eos_token_ids)
        self._ended: list[TokenOutput] = []  # ended outside a step: refused, aborted
        self._step = 0

    @property
    def slots_used_ratio(self) -> float:
        return 1.0 - len(self._slots) / self._slots.size

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
        """Ends it and frees its slot at once; an unknown or finished one is no error."""
        sequence = self.waiting.pop(request_id, None) or self.running.get(request_id)
        if sequence is not None:
            self._end(sequence)
            self._ended.append(TokenOutput(request_id, None, "abort"))

    def wait_s(self, now: float) -> float | None:
        """How long until there is something to do: 0 at once, None not before a message comes."""
        if self.running or self._ended:
            return 0.0
        if not self.waiting:
            return None
        if self._batch_is_ready(now, self._places()):
            return 0.0
        return max(0.0, self._oldest_enqueued_s() + self._batch_timeout_s() - now)

    def schedule(self, now: float) -> StepPlan:
        """The next step, within max_num_batched_tokens; empty when there is nothing to compute."""
        self._step += 1
        self._admit(now)
        decoding = [s for s in self.running.values() if s.output_tokens]
        budget = self.settings.max_num_batched_tokens
        if len(decoding) > budget:
            decoding.sort(key=lambda s: s.last_step)
            del decoding[budget:]
        decodes = tuple(Chunk(s, s.computed, 1) for s in decoding)
        return StepPlan(decodes, self._prefills(budget - len(decodes), now))

    def finish_step(
        self, plan: StepPlan, drawn: Iterable[tuple[Sequence, int | None]]
    ) -> list[TokenOutput]:
        """Books the step: each sequence's new token, or None where its logits were not finite.

        Returns this step's tokens and whatever ended since the last one.
        """
        outputs, self._ended = self._ended, []
        for chunk in plan.chunks:
            chunk.sequence.computed = chunk.end
            chunk.sequence.last_step = self._step
        outputs += [self._accept(sequence, token) for sequence, token in drawn]
        return outputs

    def _accept(self, sequence: Sequence, token: int | None) -> TokenOutput:
        request_id = sequence.request_id
        if token is None:
            self._end(sequence)
            problem = "the model's output is not finite: its weights or their dtype don't suit"
            return TokenOutput(request_id, None, "error", error=problem)
        sequence.tokens.append(token)
        finish = sequence.finish_reason(self._eos_token_ids)
        if finish:
            self._end(sequence)
        admitted = sequence.admitted_s if sequence.output_tokens == 1 else None
        return TokenOutput(request_id, token, finish, admitted)

    def _end(self, sequence: Sequence) -> None:
        self.running.pop(sequence.request_id, None)
        if sequence.slot != NO_SLOT:
            self._slots.give_back(sequence.slot)
            sequence.slot = NO_SLOT

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

    def _admit(self, now: float) -> None:
        places = self._places()
        if places <= 0 or not self._batch_is_ready(now, places):
            return
        for sequence in self._in_order(self.waiting.values(), now)[:places]:
            del self.waiting[sequence.request_id]
            sequence.admitted_s = now
            sequence.slot = self._slots.take(sequence.total_tokens)
            self.running[sequence.request_id] = sequence

    def _places(self) -> int:
        return min(self.settings.max_num_seqs - len(self.running), len(self._slots))

    def _batch_is_ready(self, now: float, places: int) -> bool:
        if not self.waiting or len(self.waiting) >= places:
            return True
        return now - self._oldest_enqueued_s() >= self._batch_timeout_s()

    def _batch_timeout_s(self) -> float:
        return self.settings.batch_timeout_ms / 1000

    def _oldest_enqueued_s(self) -> float:
        return next(iter(self.waiting.values())).enqueued_s

    def _prefills(self, budget: int, now: float) -> tuple[Chunk, ...]:
        chunks: list[Chunk] = []
        prefilling = [s for s in self.running.values() if not s.output_tokens]
        for sequence in self._in_order(prefilling, now):
            if budget <= 0:
                break
            count = min(budget, sequence.pending_tokens)
            chunks.append(Chunk(sequence, sequence.computed, count))
            budget -= count
        return tuple(chunks)

    def _in_order(self, sequences: Iterable[Sequence], now: float) -> list[Sequence]:
        """By arrival or, length-grouped, shortest power of two first; the aged before all."""
        if self.settings.schedule_policy == "fcfs":
            return list(sequences)
        return sorted(sequences, key=lambda s: _length_group(s, now))


def _length_group(sequence: Sequence, now: float) -> int:
    aged = now - sequence.enqueued_s > AGEING_S
    return 0 if aged else sequence.prompt_tokens.bit_length()
