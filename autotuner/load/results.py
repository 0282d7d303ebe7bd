"""What the client saw of one request. Durations in seconds on the client's monotonic clock."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from autotuner.domain.telemetry import Exposure, Outcome


class Failure(StrEnum):
    """Why a request was not served, as far as a client can tell."""

    REJECTED = "rejected"  # 503: the server is full
    HTTP = "http error"  # any other status
    UNREACHABLE = "unreachable"  # no connection
    BROKEN = "connection broken"  # it ended before the answer did
    TIMEOUT = "timeout"
    STREAM = "error in the stream"
    OVERLOAD = "client overload"  # never sent: too many were in flight
    CANCELLED = "cancelled"  # the load was stopped; nobody's fault


_OUTCOMES = {Failure.REJECTED: Outcome.REJECTED, Failure.CANCELLED: Outcome.ABORT}


@dataclass(frozen=True, slots=True)
class RequestResult:
    """One request from its plan to its end.

    `at_s` is when it was planned and `late_s` how much later it was sent; everything else counts
    from the sending. `gaps_s` are the times between events that carried tokens (one token each
    on most servers). `prompt_tokens` and `output_tokens` are the server's count where it gave
    one, else what was asked and the number of events. None where a figure does not exist.
    """

    index: int
    at_s: float
    late_s: float
    prompt_tokens: int
    output_tokens: int
    failure: Failure | None = None
    detail: str = ""
    ttft_s: float | None = None
    tpot_s: float | None = None
    e2el_s: float = 0.0
    gaps_s: tuple[float, ...] = ()

    @property
    def gap_max_s(self) -> float | None:
        return max(self.gaps_s) if self.gaps_s else None

    @property
    def served(self) -> bool:
        return self.failure is None

    @property
    def counts(self) -> bool:
        """Whether it was offered: client overload is, or a hopeless server would look better."""
        return self.failure is not Failure.CANCELLED

    def exposure(self) -> Exposure:
        """The request in the domain's words, with no generation: a client does not know it."""
        outcome = Outcome.LENGTH if self.failure is None else _OUTCOMES.get(self.failure)
        return Exposure(
            seq=self.index + 1,
            id=str(self.index),
            generation_start=0,
            generation_end=0,
            arrival=self.at_s + self.late_s,
            queue_s=None,
            ttft_s=self.ttft_s,
            tpot_s=self.tpot_s,
            gap_max_s=self.gap_max_s,
            e2el_s=self.e2el_s,
            prompt_tokens=self.prompt_tokens,
            output_tokens=self.output_tokens,
            outcome=outcome or Outcome.ERROR,
        )
