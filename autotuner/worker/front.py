"""The requests in flight: admission, the engines' steps handed to them, and their exposures.

It does no I/O and knows nothing of replicas: requests leave through `engines`, clocks come in.
"""

from __future__ import annotations

import asyncio
import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from autotuner.fronts.errors import ApiError, engine_gone, overloaded
from autotuner.fronts.exposures import Exposure, Outcome
from autotuner.fronts.ring import Ring
from autotuner.worker.answer import Answer, Piece
from autotuner.worker.awaited_scores import AwaitedScores, Scorers
from autotuner.worker.live_settings import LiveSettings
from autotuner.worker.messages import AddRequest, ScoreOutput, StepOutput, TokenOutput
from autotuner.worker.observability import WorkerMetrics
from autotuner.worker.request_state import Arrival, RequestState
from autotuner.worker.step_log import StepRecord, kind_of, record_of
from autotuner.worker.ticket import Ask, Ticket
from autotuner.worker.tokens import Decodes

RETRY_AFTER_S = 1


@dataclass(frozen=True)
class Clocks:
    """Wall clock for records, monotonic clock for durations (s)."""

    wall: Callable[[], float]
    mono: Callable[[], float]

    def arrival(self) -> Arrival:
        return Arrival(self.wall(), self.mono())


@dataclass(frozen=True)
class FrontLimits:
    """`max_queue` bounds the requests waiting for a place in the batch; rings are in records."""

    max_queue: int = 256
    request_timeout_s: float = 600.0
    exposure_ring: int = 16384
    step_ring: int = 16384


class Engines(Scorers, Protocol):
    """What serves the requests. `forget` is due for each one that was added, when it is over."""

    @property
    def running(self) -> int: ...

    @property
    def kv_usage(self) -> float: ...

    def add(self, request: AddRequest) -> None: ...

    def abort(self, request_id: str) -> None: ...


class Front:
    """Must be used from one event loop."""

    def __init__(
        self,
        limits: FrontLimits,
        tokenizer: Decodes,
        settings: LiveSettings,
        metrics_of: Callable[[Callable[[], int], Callable[[], int]], WorkerMetrics],
        engines: Engines,
        clocks: Clocks,
    ) -> None:
        self.limits, self.clocks, self.settings = limits, clocks, settings
        self.exposures: Ring[Exposure] = Ring(limits.exposure_ring)
        self.steps: Ring[StepRecord] = Ring(limits.step_ring)
        self.metrics = metrics_of(lambda: self.running, lambda: self.waiting)
        self._tokenizer = tokenizer
        self._engines = engines
        self._scores = AwaitedScores(engines)
        self._in_flight: dict[str, Ticket] = {}
        self.outage: str | None = "the engine is loading: come back later"

    # ---- what is in flight
    @property
    def running(self) -> int:
        """Requests in the batches, as the last steps told."""
        return min(self._engines.running, len(self._in_flight))

    @property
    def waiting(self) -> int:
        return len(self._in_flight) - self.running

    def in_flight_by_generation(self) -> dict[str, int]:
        counts = Counter(ticket.state.generation_start for ticket in self._in_flight.values())
        return {str(generation): count for generation, count in sorted(counts.items())}

    def exposure_of(self, request_id: str) -> Exposure | None:
        """The record of a finished request, while it is kept; the last ones are found first."""
        return next((e for e in reversed(self.exposures) if e.id == request_id), None)

    # ---- requests
    def submit(self, ask: Ask) -> Ticket:
        """Hands the request to the engine; raises ApiError 503 when it can't be taken."""
        state = RequestState(
            request_id=f"{ask.id_prefix}{uuid.uuid4().hex}",
            prompt_tokens=len(ask.prompt_token_ids),
            generation_start=self.settings.in_force.generation,
            arrival=ask.arrival,
        )
        self._admit(state)
        ticket = Ticket(state, Answer(self._tokenizer, ask.stops))
        self._in_flight[state.request_id] = ticket
        self._watch(ticket)
        self._engines.add(
            AddRequest(state.request_id, ask.prompt_token_ids, ask.sampling, ask.arrival.wall)
        )
        return ticket

    def _admit(self, state: RequestState) -> None:
        if self.outage is not None:
            self._record(state, "rejected")
            raise engine_gone(self.outage)
        if self.waiting >= self.limits.max_queue:
            self._record(state, "rejected")
            raise overloaded(f"{self.waiting} requests are waiting: come back later", RETRY_AFTER_S)

    def release(self, ticket: Ticket) -> None:
        """Nobody reads this request any more: if it has not ended, its user went away."""
        if ticket.state.request_id in self._in_flight:
            self._give_up(ticket, Piece("", "abort"))

    async def score(self, token_ids: list[int], first: int) -> ScoreOutput:
        """The model's opinion of each token from `first` on; one request to one engine.

        Raises ApiError 503 while there is no engine or when it is lost, 504 when it takes longer
        than a request may. A text that can't be scored is told in the output's `error`.
        """
        if self.outage is not None:
            raise engine_gone(self.outage)
        return await self._scores.ask(token_ids, first, self.limits.request_timeout_s)

    # ---- the engines
    def on_step(self, step: StepOutput) -> None:
        """Hands out the step's tokens; they count as seen from this moment."""
        now = self.clocks.mono()
        if step.decode_seqs or step.prefill_tokens:
            self.metrics.step(step, kind_of(step))
            self.steps.append(record_of(step))
        new_tokens = sum(output.token_id is not None for output in step.tokens)
        self.metrics.state(self._engines.kv_usage, new_tokens, step.preemptions)
        for output in step.tokens:
            ticket = self._in_flight.get(output.request_id)
            if ticket is not None:  # one that was given up may still get a token
                self._on_token(ticket, output, now)

    def on_score(self, output: ScoreOutput) -> None:
        self._scores.on_score(output)

    def on_requests_lost(self, request_ids: Sequence[str], reason: str) -> None:
        """What ran on an engine that is gone fails."""
        for request_id in request_ids:
            ticket = self._in_flight.get(request_id)
            if ticket is not None:
                self._end(ticket, Piece("", "error", engine_gone(reason)))
        self._scores.on_lost(request_ids, reason)

    def fail_all(self, reason: str) -> None:
        """Everything in flight fails, and nothing is taken any more."""
        self.outage = reason
        self.on_requests_lost(list(self._in_flight), reason)
        self._scores.on_all_lost(reason)

    def _on_token(self, ticket: Ticket, output: TokenOutput, now: float) -> None:
        if output.admitted_at is not None:
            ticket.state.admitted(output.admitted_at, output.cached_tokens)
        if output.token_id is not None:
            self._time_token(ticket.state, now)
        piece = ticket.answer.push(output)
        if piece.outcome is None:
            ticket.put(piece)
        elif output.finish is None:  # a stop string: the engine does not know that it is over
            self._give_up(ticket, piece)
        else:
            self._end(ticket, piece)

    def _time_token(self, state: RequestState, now: float) -> None:
        gap_s = state.token(now)
        if gap_s is None:
            self.metrics.first_token(now - state.arrival.mono, state.prompt_tokens)
        else:
            self.metrics.gap(gap_s)

    def _watch(self, ticket: Ticket) -> None:
        timeout_s = self.limits.request_timeout_s
        error = ApiError(504, f"not finished within {timeout_s:g} s", code="timeout")
        loop = asyncio.get_running_loop()
        last = Piece("", "error", error)
        ticket.deadline = loop.call_later(timeout_s, self._give_up, ticket, last)

    def _give_up(self, ticket: Ticket, last: Piece) -> None:
        self._engines.abort(ticket.state.request_id)
        self._end(ticket, last)

    def _end(self, ticket: Ticket, last: Piece) -> None:
        if ticket.deadline is not None:
            ticket.deadline.cancel()
        del self._in_flight[ticket.state.request_id]
        self._engines.forget(ticket.state.request_id)
        assert last.outcome is not None
        self._record(ticket.state, last.outcome)
        ticket.put(last)

    def _record(self, state: RequestState, outcome: Outcome) -> None:
        generation = self.settings.in_force.generation
        exposure = state.ended(outcome, generation, self.clocks.mono())
        self.exposures.append(exposure)
        self.metrics.ended(exposure)
