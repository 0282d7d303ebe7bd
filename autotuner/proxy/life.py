"""One request's life at the proxy, from arrival to its exposure; times come in as arguments."""

from __future__ import annotations

from dataclasses import dataclass, field

from autotuner.fronts.exposures import Exposure, Outcome
from autotuner.fronts.gaps import Gaps
from autotuner.proxy.reading import Usage


@dataclass
class Life:
    """Every `now` is on the monotonic clock of `arrived_mono`; `arrived_at` is wall clock (s).

    `generation` is that of the settings in force at arrival, then of those at admission: a request
    that waited through a restart lives under the new settings alone.
    """

    id: str
    generation: int
    arrived_at: float
    arrived_mono: float
    prompt_chars: int = 0
    prompt_tokens: int | None = None
    queue_s: float | None = None
    gaps: Gaps = field(default_factory=Gaps)
    events: int = 0

    def admitted(self, generation: int, now: float) -> None:
        self.generation, self.queue_s = generation, now - self.arrived_mono

    def content(self, now: float) -> float | None:
        """Counts an event with content; the gap since the one before (s), None for the first."""
        self.events += 1
        return self.gaps.note(now)

    def whole(self, now: float) -> None:
        """The answer came in one piece: its first token is its last."""
        self.gaps.first_at = self.gaps.last_at = now

    @property
    def ttft_s(self) -> float | None:
        return self.gaps.since(self.arrived_mono)

    def ended(
        self, outcome: Outcome, generation: int, now: float, usage: Usage | None, prompt_guess: int
    ) -> Exposure:
        """Tokens are the server's counts; without them events, and a guess of the prompt.

        An event may bring several tokens (speculative decoding), so their mean gap comes from the
        counts; the largest gap is one between events, which is what a reader sees.
        """
        e2el_s = now - self.arrived_mono
        output_tokens = self.events if usage is None else usage.output_tokens
        prompt = usage.prompt_tokens if usage is not None else self.prompt_tokens
        return Exposure(
            id=self.id,
            generation_start=self.generation,
            generation_end=generation,
            arrival=self.arrived_at,
            queue_s=e2el_s if self.queue_s is None else self.queue_s,
            ttft_s=self.ttft_s,
            tpot_s=self._tpot_s(output_tokens),
            gap_max_s=self.gaps.largest_s,
            e2el_s=e2el_s,
            prompt_tokens=prompt_guess if prompt is None else prompt,
            output_tokens=output_tokens,
            cached_tokens=0 if usage is None else usage.cached_tokens,
            outcome=outcome,
        )

    def _tpot_s(self, output_tokens: int) -> float | None:
        """None where there is no gap to divide: fewer than two tokens, or than two events."""
        return None if self.events < 2 else self.gaps.mean_s(output_tokens)
