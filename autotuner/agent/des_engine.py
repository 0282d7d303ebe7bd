"""One simulated engine on a virtual clock, played exactly and piece by piece.

The bundled worker's scheduler: chunked prefill, batching timeout, length grouping, KV blocks with
optimistic admission and preemption, clients that leave. Plain floats and lists: stretches of pure
decoding are played in a tight loop without looking at any request. Not modelled: a preempted
request finds none of its own tokens in the prefix cache, only the share that all prompts find.
"""

from __future__ import annotations

import heapq
import math
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Collection

import numpy as np

from autotuner.agent.des_context import ContextReads, window_tokens, windowed_pairs
from autotuner.agent.des_crowding import Crowding, extra_s
from autotuner.agent.des_faults import NO_FAULTS, Faults
from autotuner.agent.des_memory import BLOCK_TOKENS, KVBlocks
from autotuner.agent.des_request import Ended, Peaks, Request, StepLog
from autotuner.agent.schedule import Schedule, priority
from autotuner.agent.serving import Serving
from autotuner.agent.stepmodel import Floats
from autotuner.domain.telemetry import Outcome, StepRecord


class Engine:
    """Serves the requests that were submitted to it, under settings that may change between steps.

    `normals()` gives standard normal draws, used from the end: one per step. With `every_step` a
    stretch of decoding is one record per step in the log, else one in all. Under a budget lowered
    below the number of sequences that decode, those go on decoding and no prompt is computed until
    enough of them have ended.
    """

    def __init__(
        self,
        serving: Serving,
        schedule: Schedule,
        normals: Callable[[], Floats],
        log: StepLog | None,
        *,
        start_s: float = 0.0,
        faults: Faults = NO_FAULTS,
        every_step: bool = False,
        crowding: Crowding | None = None,
    ) -> None:
        self.clock, self.log, self.faults, self._crowding = start_s, log, faults, crowding
        self.kv = KVBlocks(serving.kv_tokens)
        self._oom_blocks = self.faults.oom_tokens / BLOCK_TOKENS
        self._counts_blocks = self.kv.limited or self._oom_blocks < math.inf
        self.waiting: deque[Request] = deque()  # in the order of arrival, preempted ones first
        self.running: dict[int, Request] = {}  # in the order of admission
        self.ended: list[Ended] = []  # for the caller to take
        self.running_log: list[int] = []  # with every_step: how many ran
        self.preemptions = self.crashes = 0
        self._prefilling: list[Request] = []  # in the order of admission
        self._ends: list[tuple[int, int, Request]] = []  # a heap by the step of the last token
        self._clients: deque[Request] = deque()  # who may lose patience, in the order of arrival
        self._reads = ContextReads(serving.window)
        self._step = 0
        self._peaks = Peaks()
        self._normals, self._noise = normals, list[float]()
        self._every_step = every_step
        self._overloaded = self._blocked = False
        self.serving, self.schedule = serving, schedule

    @property
    def cached_tokens(self) -> int:
        """Tokens of the running sequences whose K and V are computed."""
        return sum(
            r.computed if r.end_step < 0 else r.prompt_tokens + self._told(r) - 1
            for r in self.running.values()
        )

    # ---- what the outside does
    def configure(self, serving: Serving, schedule: Schedule) -> None:
        """Other settings from the next step on; the memory stays what it was."""
        if serving.model.noise != self.serving.model.noise:
            self._noise.clear()
        self.serving, self.schedule = serving, schedule
        if window_tokens(serving.window) != self._reads.window:
            self._reads = ContextReads(serving.window)
            for _, _, request in self._ends:
                tokens = request.prompt_tokens + self._told(request)
                self._reads.add(request, tokens, self._step)

    def submit(self, request: Request) -> None:
        """Takes a request that arrives now; one longer than the memory ends in an error."""
        if not self.kv.fits(request.most_tokens):
            self._end(request, request.arrival_s, Outcome.ERROR)
            return
        share = int(self.serving.prefix_share * request.prompt_tokens)
        request.cached = min(share, request.prompt_tokens - 1)
        self.waiting.append(request)
        if len(self.waiting) > self.faults.cliff_waiting:
            self._overloaded = True
        if self.serving.patience_s < math.inf:
            self._clients.append(request)

    def run(self, until_s: float) -> None:
        """Plays all steps that begin before `until_s`."""
        while self.clock < until_s:
            if self._clients:
                self._let_leave()
            if self._ends and self._counts_blocks:
                self._make_room()
            self._admit()
            if self.faults is not NO_FAULTS and self._dies():
                continue
            if self._prefilling and self.schedule.max_num_batched_tokens > len(self._ends):
                self._mixed_step()
            elif self._ends:
                self._decode_stretch(until_s)
            else:
                self.clock = min(until_s, self._next_event_s())

    # ---- who runs
    def _in_order(self, requests: Collection[Request]) -> list[Request]:
        if not self.schedule.length_grouped or len(requests) < 2:
            return list(requests)
        now = self.clock
        return sorted(
            requests,
            key=lambda r: 0 if r.preemptions else priority(r.prompt_tokens, now - r.arrival_s),
        )

    def _gate_s(self) -> float:
        """When the batching timeout lets the waiting requests in, whatever their number."""
        first = self.waiting[0]
        return 0.0 if first.preemptions else first.arrival_s + self.schedule.batch_timeout_s

    def _admit(self) -> None:
        self._blocked = False
        waiting = self.waiting
        if not waiting:
            self._overloaded = False
            return
        places = self.schedule.max_num_seqs - len(self.running)
        if places <= 0 or (len(waiting) < places and self.clock < self._gate_s()):
            return
        grouped = self.schedule.length_grouped
        queue = self._in_order(waiting) if grouped else waiting
        admitted: list[Request] = []
        for request in queue:
            if len(admitted) == places:
                break
            known, most = request.known_tokens, request.most_tokens
            if not self.kv.admit(known, most, self.serving.optimistic, not self.running):
                self._blocked = True
                break
            admitted.append(request)
            self.running[request.number] = request
            request.computed = request.cached
            if not request.preemptions:
                request.admitted_s = self.clock
        if not admitted:
            return
        if grouped:
            chosen = {request.number for request in admitted}
            self.waiting = deque(r for r in waiting if r.number not in chosen)
        else:
            for _ in admitted:
                waiting.popleft()
        self._prefilling += admitted

    def _make_room(self) -> None:
        """Blocks for the next token of each that decodes; the last admitted makes way for them."""
        needed = self.kv.due(self._step)
        if needed <= self.kv.free:
            self.kv.free -= needed
            return
        phase = self._step % BLOCK_TOKENS
        due = [r for r in self.running.values() if r.end_step >= 0 and r.phase == phase]
        for request in due:
            while request.number in self.running and not self.kv.free:
                self._preempt()
            if request.number in self.running:
                self.kv.free -= 1

    def _preempt(self) -> None:
        request = next(reversed(self.running.values()))
        told = self._told(request)
        if request.end_step >= 0:
            request.gap_s = self._longest_gap_s(request)
            request.last_s = self.clock
        self._drop(request)
        request.told = told
        request.preemptions += 1
        self.waiting.appendleft(request)
        self.preemptions += 1

    def _told(self, request: Request) -> int:
        """Tokens that it has given so far."""
        if request.end_step < 0:
            return request.told
        return request.output_tokens - (request.end_step - self._step)

    def _drop(self, request: Request) -> None:
        """Takes a running request out, between two steps, with all that it holds."""
        del self.running[request.number]
        if request.end_step < 0:
            self._prefilling = [r for r in self._prefilling if r is not request]
            self.kv.release(request.known_tokens, request.most_tokens)
            return
        self._ends = [entry for entry in self._ends if entry[2] is not request]
        heapq.heapify(self._ends)
        self._stop_decoding(request, request.prompt_tokens + self._told(request) - 1)

    def _stop_decoding(self, request: Request, cached_tokens: int) -> None:
        self._reads.remove(request, cached_tokens + 1)
        request.end_step = -1
        self.kv.stop_decoding(request.phase)
        self.kv.release(cached_tokens, request.most_tokens)

    def _let_leave(self) -> None:
        """Clients whose patience is over take their requests with them."""
        patience_s = self.serving.patience_s
        while self._clients:
            request = self._clients[0]
            leaves_s = request.arrival_s + patience_s
            if not request.ended:
                if leaves_s > self.clock:
                    return
                if request.number in self.running:
                    self._drop(request)
                else:
                    self.waiting.remove(request)
                self._end(request, leaves_s, Outcome.ABORT)
            self._clients.popleft()

    def _dies(self) -> bool:
        """Out of memory: whether the engine just crashed and was started again."""
        if len(self.running) <= self.faults.oom_seqs and self.kv.used <= self._oom_blocks:
            return False
        for request in list(self.running.values()):
            self._drop(request)
            self._end(request, self.clock, Outcome.ERROR)
        self.clock += self.faults.restart_s
        self.crashes += 1
        return True

    def _next_event_s(self) -> float:
        """The next time at which something changes other than by a step or an arrival."""
        event_s = math.inf
        if self.waiting and self.schedule.max_num_seqs > len(self.running):
            gate_s = self._gate_s()
            event_s = gate_s if gate_s > self.clock else math.inf
        if self._clients:
            event_s = min(event_s, self._clients[0].arrival_s + self.serving.patience_s)
        return event_s

    # ---- steps
    def _mixed_step(self) -> None:
        decoding, context, window = len(self._ends), self._reads.total, self._reads.window
        unread, complete, pairs = self._prefilling, list[Request](), 0
        if self.preemptions:
            complete = self._one_token_short()
            unread = [r for r in unread if r not in complete]
            decoding += len(complete)
            context += sum(min(r.known_tokens, window) for r in complete)
        left = budget = self.schedule.max_num_batched_tokens - decoding
        for request in self._in_order(unread):
            if left <= 0:
                break
            begin, known = request.computed, request.prompt_tokens + request.told
            request.computed = end = min(known, begin + left)
            left -= end - begin
            if end <= window:
                context += end
                pairs += (end - begin) * (end + begin + 1) // 2
            else:
                context += min(end, end - begin - 1 + window)
                pairs += windowed_pairs(end, window) - windowed_pairs(begin, window)
            if end == known:
                complete.append(request)
        if complete:
            ready = {request.number for request in complete}
            self._prefilling = [r for r in self._prefilling if r.number not in ready]
        tokens = budget - left
        step_s = self.serving.model.step_s(decoding, tokens, context, pairs)
        step_s = (step_s + extra_s(self._crowding, decoding, tokens)) * self._next_noise()
        if self._overloaded:
            step_s *= self.faults.cliff_factor
        self._reads.total += self._reads.growing
        self._end_step(step_s, decoding, tokens, context, pairs)
        for request in complete:
            self._next_token(request)
        if self._every_step:
            self.running_log.append(len(self.running))

    def _one_token_short(self) -> list[Request]:
        """Preempted requests that lack but the token drawn last: their next step is a decode."""
        short = [r for r in self._prefilling if r.told and r.computed == r.known_tokens - 1]
        for request in short:
            request.computed += 1
        return short

    def _next_token(self, request: Request) -> None:
        """The token that a completed prompt yields; then it decodes, if there is more to come."""
        if request.told == 0:
            request.first_s = self.clock
        else:
            request.gap_s = max(request.gap_s, self.clock - request.last_s)
        left = request.total_tokens - request.known_tokens - 1
        if left == 0:
            del self.running[request.number]
            self.kv.release(request.known_tokens, request.most_tokens)
            self._finish(request, request.gap_s)
            return
        request.since_step, request.end_step = self._step, self._step + left
        request.phase = self.kv.start_decoding(request.known_tokens, self._step)
        heapq.heappush(self._ends, (request.end_step, request.number, request))
        self._reads.add(request, request.known_tokens + 1, self._step)

    def _decode_stretch(self, until_s: float) -> None:
        """Decode until a sequence ends or something may be admitted."""
        event_s = min(until_s, self._next_event_s())
        decoding, context, clock = len(self._ends), self._reads.total, self.clock
        growing, steps = self._reads.growing, self._stretch_steps()
        slow = self.faults.cliff_factor if self._overloaded else 1.0
        context_s = self.serving.model.context_s * slow
        base_s = self.serving.model.t0_s + self.serving.model.decode_s * decoding
        base_s = (base_s + extra_s(self._crowding, decoding, 0)) * slow
        longest_s, taken, step_s = 0.0, 0, 0.0
        while taken < steps and (clock < event_s or not taken):
            noise = self._noise.pop() if self._noise else self._next_noise()
            step_s = (base_s + context_s * context) * noise
            clock += step_s
            context += growing
            taken += 1
            if step_s > longest_s:
                longest_s = step_s
        if self._counts_blocks:
            self.kv.grow(self._step + 1, taken - 1)  # room for the first was made before it
        self.clock, self._reads.total = clock - step_s, context
        self._step += taken - 1
        self._end_step(step_s, decoding, 0, context - growing, 0, longest_s)
        if self._every_step:
            self.running_log.append(len(self.running))

    def _stretch_steps(self) -> int:
        """Steps for which nothing but time and context can change."""
        if self._every_step or (self._blocked and self.schedule.length_grouped):
            return 1
        steps = min(self._ends[0][0] - self._step, self._reads.steps_alike(self._step))
        if self._counts_blocks:
            room = max(0, min(self.kv.free, self._oom_blocks - self.kv.used))
            steps = min(steps, 1 + self.kv.steps_within(int(room), self._step + 1))
        return int(steps)

    def _end_step(
        self,
        step_s: float,
        decoding: int,
        prefill_tokens: int,
        context_tokens: int,
        prefill_pairs: int,
        longest_s: float = 0.0,
    ) -> None:
        self.clock += step_s
        self._step += 1
        self._peaks.add(self._step, max(longest_s, step_s))
        if self.log is not None:
            made_of = (decoding, prefill_tokens, context_tokens, prefill_pairs)
            self.log.add(StepRecord(self.clock, step_s, *made_of))
        if self._reads.full:
            self._reads.end_step(self._step)
        while self._ends and self._ends[0][0] <= self._step:
            request = heapq.heappop(self._ends)[2]
            gap_s = self._longest_gap_s(request)
            self._stop_decoding(request, request.most_tokens)
            del self.running[request.number]
            self._finish(request, gap_s)

    def _next_noise(self) -> float:
        if not self._noise:
            cv = self.serving.model.noise
            self._noise = np.exp(cv * self._normals() - cv * cv / 2).tolist()
        return self._noise.pop()

    def _longest_gap_s(self, request: Request) -> float:
        """Of one that decodes: its longest gap until now."""
        at = bisect_right(self._peaks.steps, request.since_step)
        longest = self._peaks.times_s[at] if at < len(self._peaks.times_s) else 0.0
        return max(request.gap_s, longest)

    def _finish(self, request: Request, gap_s: float) -> None:
        leaves_s = request.arrival_s + self.serving.patience_s
        if self.clock > leaves_s:
            self._end(request, leaves_s, Outcome.ABORT)
        else:
            self._end(request, self.clock, Outcome.LENGTH, gap_s)

    def _end(self, request: Request, at_s: float, outcome: Outcome, gap_s: float = 0.0) -> None:
        request.ended = True
        self.ended.append(Ended(at_s, request, outcome, gap_s))
