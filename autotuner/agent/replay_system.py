"""A served system on a virtual clock: requests in, exposures out, settings changed in between.

The same scheduler as in `des`, for one environment and run piece by piece. Plain floats and
lists: stretches of pure decoding are played in a tight loop without looking at any request.
"""

from __future__ import annotations

import heapq
from bisect import bisect_right
from collections import deque
from collections.abc import Collection, Mapping

import numpy as np

from autotuner.agent.schedule import Schedule, priority
from autotuner.agent.stepmodel import StepModel
from autotuner.agent.traffic import ArrivalStream, RateFunction, TokenMix
from autotuner.domain.knobs import Value
from autotuner.domain.telemetry import Exposure, Outcome, StepRecord

_NOISE_BLOCK = 4096


class _Request:
    """One request's bookkeeping."""

    __slots__ = (
        "admitted_s",
        "arrival_s",
        "done_tokens",
        "first_s",
        "first_step",
        "generation",
        "number",
        "output_tokens",
        "prompt_tokens",
    )

    def __init__(
        self, number: int, arrival_s: float, prompt_tokens: int, output_tokens: int, generation: int
    ) -> None:
        self.number, self.arrival_s, self.generation = number, arrival_s, generation
        self.prompt_tokens, self.output_tokens = prompt_tokens, output_tokens
        self.done_tokens = 0
        self.admitted_s = self.first_s = 0.0
        self.first_step = 0


class SimulatedSystem:
    """Serves a stream of random requests under settings that may change at any time.

    `rate(t)` is requests per second at time t (s). A request that finds `max_waiting` others
    waiting is rejected. Under a budget lowered below the number of sequences that decode, those
    go on decoding and no prompt is computed until enough of them have ended.
    """

    def __init__(
        self,
        model: StepModel,
        rate: RateFunction,
        mix: TokenMix,
        settings: Mapping[str, Value],
        *,
        seed: int = 0,
        start_s: float = 0.0,
        burst: float = 0.0,
        max_waiting: int = 1024,
        step_log: int = 4096,
    ) -> None:
        self.model, self.max_waiting = model, max_waiting
        self.generation, self.applied_at_s, self.now_s = 1, start_s, start_s
        self.schedule = Schedule.of(settings)
        self._stream = ArrivalStream(rate, mix, seed, start_s, burst)
        self._coming: deque[tuple[float, int, int]] = deque()
        self._known_until_s = start_s
        self._clock = start_s
        self._waiting: deque[_Request] = deque()  # in the order of arrival
        self._prefilling: list[_Request] = []  # in the order of admission
        self._ends: list[tuple[int, int, _Request]] = []  # a heap by the step of the last token
        self._context = 0
        self._step = 0
        # Longest steps so far, times falling: the longest after step s is the first entry after s.
        self._peak_steps: list[int] = []
        self._peaks_s: list[float] = []
        self._requests = 0
        self._sequence = 0
        self._finished: list[tuple[float, _Request, Outcome, float]] = []
        self._in_flight: dict[int, int] = {}
        self._noise_rng = np.random.default_rng((seed, 1))
        self._noise: list[float] = []
        self._steps: deque[StepRecord] = deque(maxlen=step_log)
        self._logged = 0

    # ---- what a target offers
    def apply(self, settings: Mapping[str, Value]) -> int:
        """Put `settings` in force from the next step on; the new generation number."""
        self.schedule = Schedule.of(settings)
        self.generation += 1
        self.applied_at_s = self.now_s
        return self.generation

    def advance(self, until_s: float) -> list[Exposure]:
        """Serve until `until_s`; the requests that ended since the last call, in order."""
        while self._clock < until_s:
            self._take_arrivals(min(self._clock, until_s))
            self._admit()
            if self._prefilling and self.schedule.max_num_batched_tokens > len(self._ends):
                self._mixed_step()
            elif self._ends:
                self._decode_stretch(until_s)
            else:
                self._clock = min(until_s, self._next_event_s())
        self._take_arrivals(until_s, inclusive=False)
        self.now_s = until_s
        return self._collect(until_s)

    @property
    def in_flight(self) -> dict[int, int]:
        """Unfinished requests by the generation that they arrived under."""
        return {generation: n for generation, n in self._in_flight.items() if n}

    @property
    def running(self) -> int:
        return len(self._ends) + len(self._prefilling)

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    @property
    def context_tokens(self) -> int:
        """KV tokens held by the running sequences."""
        return self._context + sum(r.done_tokens for r in self._prefilling)

    def steps(self, after: int) -> tuple[list[StepRecord], int]:
        """Recent steps after the cursor, and the next cursor. One step per stretch of decoding."""
        n = min(len(self._steps), self._logged - after)
        return list(self._steps)[len(self._steps) - n :] if n > 0 else [], self._logged

    # ---- the scheduler
    def _in_order(self, requests: Collection[_Request]) -> list[_Request]:
        if not self.schedule.length_grouped or len(requests) < 2:
            return list(requests)
        now = self._clock
        return sorted(requests, key=lambda r: priority(r.prompt_tokens, now - r.arrival_s))

    def _next_arrival_s(self) -> float:
        while not self._coming:
            rows, self._known_until_s = self._stream.next_block()
            self._coming.extend(rows)
            if not rows and self._known_until_s > self._clock:
                return self._known_until_s  # nothing until then; look again there
        return self._coming[0][0]

    def _take_arrivals(self, until_s: float, inclusive: bool = True) -> None:
        while True:
            at = self._next_arrival_s()
            if not self._coming or not (at < until_s or (inclusive and at == until_s)):
                return
            arrival, prompt, output = self._coming.popleft()
            self._requests += 1
            request = _Request(self._requests, arrival, prompt, output, self.generation)
            self._in_flight[self.generation] = self._in_flight.get(self.generation, 0) + 1
            if len(self._waiting) >= self.max_waiting:
                self._finished.append((arrival, request, Outcome.REJECTED, 0.0))
            else:
                self._waiting.append(request)

    def _gate_s(self) -> float:
        """When the batching timeout lets the waiting requests in, whatever their number."""
        if not self._waiting:
            return float("inf")
        return self._waiting[0].arrival_s + self.schedule.batch_timeout_s

    def _admit(self) -> None:
        if not self._waiting:
            return
        free = self.schedule.max_num_seqs - self.running
        if free <= 0 or (len(self._waiting) < free and self._clock < self._gate_s()):
            return
        if free >= len(self._waiting) or not self.schedule.length_grouped:
            admitted = [self._waiting.popleft() for _ in range(min(free, len(self._waiting)))]
            admitted = self._in_order(admitted)
        else:
            admitted = self._in_order(self._waiting)[:free]
            chosen = {request.number for request in admitted}
            self._waiting = deque(r for r in self._waiting if r.number not in chosen)
        for request in admitted:
            request.admitted_s = self._clock
        self._prefilling += admitted

    def _next_event_s(self) -> float:
        """The next time at which admission may change other than by a sequence's end."""
        free = self.schedule.max_num_seqs > self.running
        return min(self._next_arrival_s(), self._gate_s() if free else float("inf"))

    def _mixed_step(self) -> None:
        decoding, context = len(self._ends), self._context
        left = budget = self.schedule.max_num_batched_tokens - decoding
        complete, pairs = [], 0
        for request in self._in_order(self._prefilling):
            if left <= 0:
                break
            tokens = min(left, request.prompt_tokens - request.done_tokens)
            request.done_tokens += tokens
            left -= tokens
            context += request.done_tokens
            pairs += tokens * (2 * request.done_tokens - tokens + 1) // 2
            if request.done_tokens == request.prompt_tokens:
                complete.append(request)
        if complete:
            ready = {request.number for request in complete}
            self._prefilling = [r for r in self._prefilling if r.number not in ready]
        step_s = self.model.step_s(decoding, budget - left, context, pairs) * self._next_noise()
        self._context += decoding
        self._end_step(step_s, decoding, budget - left, context, pairs)
        for request in complete:
            self._first_token(request)

    def _first_token(self, request: _Request) -> None:
        request.first_s, request.first_step = self._clock, self._step
        if request.output_tokens == 1:
            self._finish(request)
            return
        self._context += request.prompt_tokens + 1
        end = self._step + request.output_tokens - 1
        heapq.heappush(self._ends, (end, request.number, request))

    def _decode_stretch(self, until_s: float) -> None:
        """Decode until a sequence ends or something may be admitted."""
        event_s = min(until_s, self._next_event_s())
        decoding, context, clock = len(self._ends), self._context, self._clock
        steps, context_s = self._ends[0][0] - self._step, self.model.context_s
        base_s = self.model.t0_s + self.model.decode_s * decoding
        longest_s, taken, step_s = 0.0, 0, 0.0
        while taken < steps and (clock < event_s or not taken):
            noise = self._noise.pop() if self._noise else self._next_noise()
            step_s = (base_s + context_s * context) * noise
            clock += step_s
            context += decoding
            taken += 1
            if step_s > longest_s:
                longest_s = step_s
        self._clock, self._context = clock - step_s, context
        self._step += taken - 1
        self._end_step(step_s, decoding, 0, context - decoding, 0, longest_s)

    def _end_step(
        self,
        step_s: float,
        decoding: int,
        prefill_tokens: int,
        context_tokens: int,
        prefill_pairs: int,
        longest_s: float = 0.0,
    ) -> None:
        self._clock += step_s
        self._step += 1
        longest_s = max(longest_s, step_s)
        while self._peaks_s and self._peaks_s[-1] <= longest_s:
            self._peaks_s.pop()
            self._peak_steps.pop()
        self._peaks_s.append(longest_s)
        self._peak_steps.append(self._step)
        self._steps.append(
            StepRecord(self._clock, step_s, decoding, prefill_tokens, context_tokens, prefill_pairs)
        )
        self._logged += 1
        while self._ends and self._ends[0][0] <= self._step:
            request = heapq.heappop(self._ends)[2]
            self._context -= request.prompt_tokens + request.output_tokens
            self._finish(request)

    def _next_noise(self) -> float:
        if not self._noise:
            cv = self.model.noise
            z = self._noise_rng.standard_normal(_NOISE_BLOCK)
            self._noise = np.exp(cv * z - cv * cv / 2).tolist()
        return self._noise.pop()

    def _finish(self, request: _Request) -> None:
        gap_s = 0.0
        if request.output_tokens > 1:
            gap_s = self._peaks_s[bisect_right(self._peak_steps, request.first_step)]
        self._finished.append((self._clock, request, Outcome.LENGTH, gap_s))

    # ---- the exposure log
    def _collect(self, until_s: float) -> list[Exposure]:
        due = sorted((row for row in self._finished if row[0] <= until_s), key=lambda row: row[0])
        self._finished = [row for row in self._finished if row[0] > until_s]
        return [self._exposure(*row) for row in due]

    def _exposure(
        self, ended_s: float, request: _Request, outcome: Outcome, gap_s: float
    ) -> Exposure:
        self._sequence += 1
        self._in_flight[request.generation] -= 1
        served, many = outcome is Outcome.LENGTH, request.output_tokens > 1
        mean_gap_s = (ended_s - request.first_s) / max(request.output_tokens - 1, 1)
        return Exposure(
            seq=self._sequence,
            id=f"sim-{request.number}",
            generation_start=request.generation,
            generation_end=self.generation,
            arrival=request.arrival_s,
            queue_s=request.admitted_s - request.arrival_s if served else None,
            ttft_s=request.first_s - request.arrival_s if served else None,
            tpot_s=mean_gap_s if served and many else None,
            gap_max_s=gap_s if served and many else None,
            e2el_s=ended_s - request.arrival_s,
            prompt_tokens=request.prompt_tokens,
            output_tokens=request.output_tokens if served else 0,
            outcome=outcome,
        )
