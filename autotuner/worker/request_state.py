"""One request's life, from arrival to its exposure; times come in as arguments."""

from __future__ import annotations

from dataclasses import dataclass, field

from autotuner.fronts.exposures import Exposure, Outcome
from autotuner.fronts.gaps import Gaps


@dataclass(frozen=True)
class Arrival:
    """When a request came in: wall clock for the record, monotonic clock for durations (s)."""

    wall: float
    mono: float


@dataclass
class RequestState:
    """What happened to one request so far. Every `now` is on the monotonic clock of `arrival`."""

    request_id: str
    prompt_tokens: int
    generation_start: int
    arrival: Arrival
    output_tokens: int = 0
    cached_tokens: int = 0
    queue_s: float | None = None
    gaps: Gaps = field(default_factory=Gaps)

    def admitted(self, wall: float, cached_tokens: int = 0) -> None:
        """An engine took it up at `wall`; two clocks' rounding never makes the wait negative.

        `cached_tokens` of its prompt needed no computing.
        """
        self.queue_s = max(0.0, wall - self.arrival.wall)
        self.cached_tokens = cached_tokens

    def token(self, now: float) -> float | None:
        """Counts a token and returns the gap since the one before it (s); None for the first."""
        self.output_tokens += 1
        return self.gaps.note(now)

    @property
    def ttft_s(self) -> float | None:
        return self.gaps.since(self.arrival.mono)

    @property
    def tpot_s(self) -> float | None:
        """Mean gap (s) over the tokens after the first; None with fewer than two tokens."""
        return self.gaps.mean_s(self.output_tokens)

    def ended(self, outcome: Outcome, generation: int, now: float) -> Exposure:
        """The record of this request, finished at `now` under settings `generation`."""
        e2el_s = now - self.arrival.mono
        return Exposure(
            id=self.request_id,
            generation_start=self.generation_start,
            generation_end=generation,
            arrival=self.arrival.wall,
            queue_s=e2el_s if self.queue_s is None else self.queue_s,
            ttft_s=self.ttft_s,
            tpot_s=self.tpot_s,
            gap_max_s=self.gaps.largest_s,
            e2el_s=e2el_s,
            prompt_tokens=self.prompt_tokens,
            output_tokens=self.output_tokens,
            cached_tokens=self.cached_tokens,
            outcome=outcome,
        )
