"""All environments step by step at once, for as long as no memory, patience or queue limit binds.

All per-step work is on vectors of length [environment]: a sequence that decodes needs no
bookkeeping until it ends, because every sequence that decodes gets one token a step. Its end is
known when its prompt is done, and its largest gap is the longest step in between, looked up
afterwards. A row in which a limit may bind stops and is marked `broken`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from autotuner.agent.des_context import windowed_pairs
from autotuner.agent.des_crowding import Crowding
from autotuner.agent.des_limits import Limits
from autotuner.agent.des_noise import BLOCK_STEPS, Noise
from autotuner.agent.latencies import Latencies, from_steps
from autotuner.agent.schedule import ScheduleTable, priority
from autotuner.agent.serving import ServingTable
from autotuner.agent.stepmodel import Bools, Floats, Ints
from autotuner.agent.traffic import Traffic

_NO_WINDOW = 1 << 40


@dataclass(frozen=True)
class Trace:
    """What the steps were made of: arrays [step, environment]; 0 tokens where none ran.

    `running` is how many ran when the step had ended.
    """

    step_s: Floats
    end_s: Floats
    decode_seqs: Ints
    prefill_tokens: Ints
    context_tokens: Ints
    running: Ints


@dataclass
class _Queues:
    """One row under length grouping: who waits, in the order of arrival, and who is prefilling
    with how many tokens done, in the order of admission.
    """

    waiting: list[int] = field(default_factory=list)
    prefilling: dict[int, int] = field(default_factory=dict)


class CursorRun:
    """The state of all environments between two steps."""

    def __init__(
        self,
        traffic: Traffic,
        schedules: ScheduleTable,
        serving: ServingTable,
        cap_s: float,
        noise: Noise,
        *,
        max_waiting: float = np.inf,
        trace: bool = False,
        crowding: Crowding | None = None,
    ) -> None:
        n, width = traffic.arrival_s.shape
        self.schedules, self.steps, self.cap_s = schedules, serving.steps, cap_s
        self.noise, self.tracing, self.crowding = noise, trace, crowding
        pad = ((0, 0), (0, 1))
        self.arrival = np.pad(traffic.arrival_s, pad, constant_values=np.inf)
        self.prompt = np.pad(traffic.prompt_tokens, pad, constant_values=1)
        self.output = np.pad(traffic.output_tokens, pad, constant_values=1)
        self.total = np.isfinite(traffic.arrival_s).sum(axis=1)
        self.first = np.full((n, width + 1), -1, dtype=np.int64)  # step of the first token
        self.rows = np.arange(n)
        self.clock = np.zeros(n)
        # Cursors into the arrivals: how many are known, admitted, and through with their prompt.
        self.seen, self.oldest = np.zeros(n, np.int64), np.zeros(n, np.int64)
        self.admitted, self.head = np.zeros(n, np.int64), np.zeros(n, np.int64)
        self.head_done = np.zeros(n, np.int64)  # prompt tokens of the head already computed
        self.decoding, self.context = np.zeros(n, np.int64), np.zeros(n, np.int64)
        self.finished = np.zeros(n, np.int64)
        self.stopped_at = np.full(n, np.iinfo(np.int64).max)
        self.ring_size = int(self.output.max(initial=1)) + 1
        self.leaving = np.zeros((self.ring_size, n), np.int64)  # how many end at a future step
        self.leaving_context = np.zeros((self.ring_size, n), np.int64)
        self.windowed = bool(np.isfinite(serving.window).any())
        self.window = np.where(np.isfinite(serving.window), serving.window, _NO_WINDOW)
        self.window = np.maximum(1, self.window.astype(np.int64))
        # Of those who decode, how many read one token more each step, and how many stop when.
        self.growing, self.joined_growing = np.zeros(n, np.int64), np.zeros(n, np.int64)
        self.filling = np.zeros((self.ring_size if self.windowed else 1, n), np.int64)
        self.cached = np.minimum(
            np.floor(serving.prefix_share[:, None] * self.prompt).astype(np.int64), self.prompt - 1
        )
        self.limits = Limits(self.prompt, self.output, serving, max_waiting)
        self.done: Bools = (self.total == 0) | self.limits.broken
        self.grouped = np.flatnonzero(schedules.length_grouped)
        # Under length grouping a request may overtake others: lists of requests, not cursors.
        self.prefills_grouped = np.zeros(n, np.bool_)
        self.queues = {int(e): _Queues() for e in self.grouped}
        self.noise_block = np.zeros((0, 0))
        self.index = 0
        self.step_log: list[Floats] = []
        self.end_log: list[Floats] = []
        self.trace_log: list[tuple[Ints, Ints, Ints, Ints]] = []

    @property
    def broken(self) -> Bools:
        """In which rows a limit may have bound, so that what they say is not true."""
        return self.limits.broken

    def run(self) -> None:
        """Play until every row is done."""
        while not self.done.all():
            self._play_step()

    def _play_step(self) -> None:
        self._arrive()
        if self.limits.any:
            waited_s = self.clock - self.arrival[self.rows, self.oldest]
            self.limits.look_at_queue(self.seen - self.admitted, waited_s, ~self.done)
        self._admit()
        if self.limits.any:
            self.limits.look_at_memory(self.decoding, ~self.done)
            self.done = self.done | self.limits.broken
            self.stopped_at[self.limits.broken] = -1
        decoding, context = self.decoding, self.context
        tokens, prefill_context, pairs, joined, joined_context = self._prefill()
        active = ((decoding > 0) | (tokens > 0)) & ~self.done
        read = context + prefill_context
        m = self.steps
        step_s = m.t0_s + m.decode_s * decoding + m.prefill_s * tokens + m.context_s * read
        step_s = step_s + m.pair_s * pairs
        if self.crowding is not None:
            step_s = step_s + self.crowding.extra_s(decoding, tokens)
        step_s = np.where(active, step_s * self._noise(), 0.0)
        self.clock = self.clock + step_s
        slot = self.index % self.ring_size
        grown = self._grow(slot) if self.windowed else decoding
        self.context = context + grown - self.leaving_context[slot] + joined_context
        self.decoding = decoding + joined - self.leaving[slot]
        self.finished += self.leaving[slot]
        if self.limits.any:
            self.limits.leave(self.index % self.ring_size, decoding)
        self.leaving[slot] = 0
        self.leaving_context[slot] = 0
        self.step_log.append(step_s)
        self.end_log.append(self.clock)
        if self.tracing:
            running = self.admitted - self.finished
            self.trace_log.append((decoding * active, tokens, read * active, running))
        self._stop()
        if not active.all():
            self._skip_idle(~active & ~self.done)
        self.index += 1

    def _grow(self, slot: int) -> Ints:
        """By how much the step just done grew what decoding reads."""
        grown = self.growing
        self.growing = grown - self.filling[slot] + self.joined_growing
        self.filling[slot] = 0
        self.joined_growing = np.zeros_like(grown)
        return grown

    def _arrive(self) -> None:
        while True:
            come = (self.arrival[self.rows, self.seen] <= self.clock) & ~self.done
            if not come.any():
                return
            for e in self.grouped[come[self.grouped]].tolist():
                waiting = self.queues[e].waiting
                waiting.append(int(self.seen[e]))
                self.oldest[e] = waiting[0]
            self.seen += come

    def _admit(self) -> None:
        waiting = self.seen - self.admitted
        if not waiting.any():
            return
        free = self.schedules.max_num_seqs - (self.admitted - self.finished)
        oldest_s = self.arrival[self.rows, self.oldest]
        waited = self.clock >= oldest_s + self.schedules.batch_timeout_s
        opened = (waiting > 0) & (free > 0) & (waited | (waiting >= free)) & ~self.done
        taken = np.where(opened, np.minimum(waiting, free), 0)
        for e in self.grouped[opened[self.grouped]].tolist():
            self._admit_grouped(e, int(taken[e]))
        if self.limits.any:
            self.limits.admit(self.admitted, np.where(self.schedules.length_grouped, 0, taken))
        self.admitted += taken
        self.oldest = np.where(self.schedules.length_grouped, self.oldest, self.admitted)

    def _admit_grouped(self, e: int, taken: int) -> None:
        queues = self.queues[e]
        first = self._in_order(e, queues.waiting)[:taken]
        queues.waiting = [request for request in queues.waiting if request not in first]
        queues.prefilling.update((r, int(self.cached[e, r])) for r in first)
        self.limits.admit_some(e, first)
        self.head[e] += taken  # kept out of the cursors' way
        self.prefills_grouped[e] = True
        self.oldest[e] = queues.waiting[0] if queues.waiting else self.seen[e]

    def _in_order(self, e: int, requests: list[int]) -> list[int]:
        if len(requests) < 2:
            return requests
        prompt, now, arrival = self.prompt[e], float(self.clock[e]), self.arrival[e]
        return sorted(requests, key=lambda r: priority(int(prompt[r]), now - float(arrival[r])))

    def _prefill(self) -> tuple[Ints, Ints, Ints, Ints, Ints]:
        """Spend the budget that decoding leaves; tokens, KV read, pairs, who decodes next."""
        tokens, context = np.zeros_like(self.seen), np.zeros_like(self.seen)
        pairs = np.zeros_like(self.seen)
        joined, joined_context = np.zeros_like(self.seen), np.zeros_like(self.seen)
        left = np.where(self.done, 0, self.schedules.max_num_batched_tokens - self.decoding)
        for e in np.flatnonzero(self.prefills_grouped & (left > 0)).tolist():
            tokens[e], context[e], pairs[e], complete = self._prefill_grouped(e, int(left[e]))
            for done in complete:
                self._first_token(np.array([e]), np.array([done]), joined, joined_context)
        while True:
            rows = np.flatnonzero((left > 0) & (self.head < self.admitted))
            if not len(rows):
                return tokens, context, pairs, joined, joined_context
            request = self.head[rows]  # in the order of arrival
            cached, prompt = self.cached[rows, request], self.prompt[rows, request]
            before = np.maximum(self.head_done[rows], cached)
            upto = np.minimum(before + left[rows], prompt)
            tokens[rows] += upto - before
            if self.windowed:
                window = self.window[rows]
                context[rows] += np.minimum(upto, upto - before - 1 + window)
                pairs[rows] += _windowed_pairs(upto, window) - _windowed_pairs(before, window)
            else:
                context[rows] += upto
                pairs[rows] += (upto - before) * (upto + before + 1) // 2
            left[rows] -= upto - before
            complete = upto == prompt
            self.head_done[rows] = np.where(complete, 0, upto)
            self.head[rows] += complete
            if complete.any():
                self._first_token(rows[complete], request[complete], joined, joined_context)

    def _prefill_grouped(self, e: int, left: int) -> tuple[int, int, int, list[int]]:
        """Tokens computed, KV read, pairs, and the requests whose prompt is done, for one row."""
        done = self.queues[e].prefilling
        tokens = context = pairs = 0
        window = int(self.window[e])
        for request in self._in_order(e, list(done)):
            count = min(left - tokens, int(self.prompt[e, request]) - done[request])
            if count <= 0:
                break
            done[request] += count
            tokens += count
            end = done[request]
            context += min(end, count - 1 + window)
            pairs += windowed_pairs(end, window) - windowed_pairs(end - count, window)
        complete = [r for r, n in done.items() if n == self.prompt[e, r]]
        for request in complete:
            del done[request]
        self.prefills_grouped[e] = bool(done)
        return tokens, context, pairs, complete

    def _first_token(self, rows: Ints, request: Ints, joined: Ints, joined_context: Ints) -> None:
        self.first[rows, request] = self.index
        prompt, output = self.prompt[rows, request], self.output[rows, request]
        goes_on = output > 1
        joined[rows] += goes_on
        tokens, total = prompt + 1, prompt + output
        if self.windowed:
            window = self.window[rows]
            grows = goes_on & (tokens < window)
            self.joined_growing[rows] += grows
            full = self.index + np.minimum(window - tokens, output - 1)
            self.filling[full % self.ring_size, rows] += grows
            tokens, total = np.minimum(tokens, window), np.minimum(total, window)
        joined_context[rows] += np.where(goes_on, tokens, 0)
        self.finished[rows] += ~goes_on
        slot = (self.index + output - 1) % self.ring_size
        self.leaving[slot, rows] += goes_on
        self.leaving_context[slot, rows] += np.where(goes_on, total, 0)
        if self.limits.any:
            self.limits.end_at(rows, request, slot, goes_on)

    def _noise(self) -> Floats:
        at = self.index % BLOCK_STEPS
        if at == 0:
            self.noise_block = self.noise.block(self.index // BLOCK_STEPS)
        cv = self.steps.noise
        noise: Floats = np.exp(cv * self.noise_block[at][self.noise.groups] - cv * cv / 2)
        return noise

    def _stop(self) -> None:
        ended = ((self.finished >= self.total) | (self.clock >= self.cap_s)) & ~self.done
        self.stopped_at[ended] = self.index
        self.done = self.done | ended

    def _skip_idle(self, idle: Bools) -> None:
        """Put idle clocks at their next event: an arrival, or the end of the batching timeout."""
        rows = np.flatnonzero(idle)
        arrival = self.arrival[rows, self.seen[rows]]
        oldest = self.arrival[rows, self.oldest[rows]] + self.schedules.batch_timeout_s[rows]
        gate = np.where(self.seen[rows] > self.admitted[rows], oldest, np.inf)
        self.clock[rows] = np.maximum(self.clock[rows], np.minimum(arrival, gate))

    def latencies(self) -> Latencies:
        """Of every request; infinite where it had not ended when its row was done."""
        step_s, end_s = self._steps_taken()
        first, output, arrival = self.first[:, :-1], self.output[:, :-1], self.arrival[:, :-1]
        last = np.where(first >= 0, first + output - 1, np.iinfo(np.int64).max)
        complete = (first >= 0) & (last <= self.stopped_at[:, None])
        latencies = from_steps(arrival, first, output, complete, step_s, end_s)
        self.limits.look_back(latencies, self.clock)
        return latencies

    def trace(self) -> Trace:
        """The steps, when they were asked for."""
        n = len(self.rows)
        columns = [np.array(column).reshape(-1, n) for column in zip(*self.trace_log, strict=True)]
        if not columns:
            columns = [np.zeros((0, n), np.int64)] * 4
        return Trace(*self._steps_taken(), *columns)

    def _steps_taken(self) -> tuple[Floats, Floats]:
        n = len(self.rows)
        return np.array(self.step_log).reshape(-1, n), np.array(self.end_log).reshape(-1, n)


def _windowed_pairs(tokens: Ints, window: Ints) -> Ints:
    """`windowed_pairs` of arrays."""
    growing = np.minimum(tokens, window)
    pairs: Ints = growing * (growing + 1) // 2 + (tokens - growing) * window
    return pairs
