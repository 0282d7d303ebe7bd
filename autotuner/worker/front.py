"""The requests in flight: admission, the engine's steps handed to them, and their exposures.

It does no I/O: messages leave through `send`, and clocks come in.
"""

from __future__ import annotations

import asyncio
import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from autotuner.worker.answer import Answer, Piece
from autotuner.worker.errors import ApiError, engine_gone, overloaded
from autotuner.worker.exposures import Exposure, Outcome
from autotuner.worker.live_settings import LiveSettings
from autotuner.worker.messages import (
    AbortRequest,
    AddRequest,
    StepOutput,
    TokenOutput,
)
from autotuner.worker.observability import StepKind, WorkerMetrics
from autotuner.worker.request_state import Arrival, RequestState
from autotuner.worker.ring import Ring
from autotuner.worker.ticket import Ask, Ticket
from autotuner.worker.tokens import Decodes

RETRY_AFTER_S = 1


@dataclass(frozen=True, slots=True)
class StepRecord:
    """One engine step, for calibration; `at` is the wall clock at its end."""

    at: float
    step_s: float
    decode_seqs: int
    prefill_tokens: int
    context_tokens: int
    prefill_pairs: int
    generation: int


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


class Front:
    """Must be used from one event loop."""

    def __init__(
        self,
        limits: FrontLimits,
        tokenizer: Decodes,
        settings: LiveSettings,
        metrics_of: Callable[[Callable[[], int], Callable[[], int]], WorkerMetrics],
        send: Callable[[AddRequest | AbortRequest], None],
        clocks: Clocks,
    ) -> None:
        self.limits, self.clocks, self.settings = limits, clocks, settings
        self.exposures: Ring[Exposure] = Ring(limits.exposure_ring)
        self.steps: Ring[StepRecord] = Ring(limits.step_ring)
        self.metrics = metrics_of(lambda: self.running, lambda: self.waiting)
        self._tokenizer = tokenizer
        self._send = send
        self._in_flight: dict[str, Ticket] = {}
        self._engine_running = 0
        self.outage: str | None = "the engine is loading: come back later"

    # ---- what is in flight
    @property
    def running(self) -> int:
        """Requests in the batch, as the last step told."""
        return min(self._engine_running, len(self._in_flight))

    @property
    def waiting(self) -> int:
        return len(self._in_flight) - self.running

    def in_flight_by_generation(self) -> dict[str, int]:
        counts = Counter(ticket.state.generation_start for ticket in self._in_flight.values())
        return {str(generation): count for generation, count in sorted(counts.items())}

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
        self._send(
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

    # ---- the engine
    def on_step(self, step: StepOutput) -> None:
        """Hands out the step's tokens; they count as seen from this moment."""
        now = self.clocks.mono()
        self._engine_running = step.running
        if step.decode_seqs or step.prefill_tokens:
            self._record_step(step)
        new_tokens = sum(output.token_id is not None for output in step.tokens)
        self.metrics.state(step.kv_usage, new_tokens, step.preemptions)
        for output in step.tokens:
            ticket = self._in_flight.get(output.request_id)
            if ticket is not None:  # one that was given up may still get a token
                self._on_token(ticket, output, now)

    def on_engine_ready(self) -> None:
        """From here on requests are taken."""
        self.outage = None

    def on_engine_lost(self, reason: str) -> None:
        """Everything in flight fails, and nothing is taken until an engine is ready again."""
        self.outage = reason
        self._engine_running = 0
        for ticket in list(self._in_flight.values()):
            self._end(ticket, Piece("", "error", engine_gone(reason)))

    def _on_token(self, ticket: Ticket, output: TokenOutput, now: float) -> None:
        if output.admitted_at is not None:
            ticket.state.admitted(output.admitted_at)
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
        self._send(AbortRequest(ticket.state.request_id))
        self._end(ticket, last)

    def _end(self, ticket: Ticket, last: Piece) -> None:
        if ticket.deadline is not None:
            ticket.deadline.cancel()
        del self._in_flight[ticket.state.request_id]
        assert last.outcome is not None
        self._record(ticket.state, last.outcome)
        ticket.put(last)

    def _record(self, state: RequestState, outcome: Outcome) -> None:
        generation = self.settings.in_force.generation
        exposure = state.ended(outcome, generation, self.clocks.mono())
        self.exposures.append(exposure)
        self.metrics.ended(exposure)

    def _record_step(self, step: StepOutput) -> None:
        self.metrics.step(step, _kind(step))
        record = StepRecord(
            at=step.at,
            step_s=step.step_s,
            decode_seqs=step.decode_seqs,
            prefill_tokens=step.prefill_tokens,
            context_tokens=step.context_tokens,
            prefill_pairs=step.prefill_pairs,
            generation=step.generation,
        )
        self.steps.append(record)


def _kind(step: StepOutput) -> StepKind:
    if not step.prefill_tokens:
        return "decode"
    return "mixed" if step.decode_seqs else "prefill"
