"""Service-level objectives per request: goodput asks that ONE request meets ALL of them."""

from __future__ import annotations

import math
from dataclasses import dataclass

from autotuner.domain.telemetry import Exposure, Outcome


@dataclass(frozen=True)
class SLO:
    """Targets per request, seconds; None means that the target is not asked for."""

    ttft_s: float | None = None
    gap_max_s: float | None = None
    tpot_s: float | None = None
    e2el_s: float | None = None

    def counts(self, request: Exposure) -> bool:
        """Whether a finished request says how well the service does.

        All do, save one whose client went away while every target could still be met: nobody
        knows how it would have ended, so it counts for neither side. Once a deadline had passed
        unmet, leaving changes nothing any more: it counts, and `met_by` says False. Otherwise
        settings so slow that clients give up would lose their worst requests and look better.
        """
        return request.outcome is not Outcome.ABORT or self.overdue(request)

    def overdue(self, request: Exposure, by: float = math.inf) -> bool:
        """Whether a deadline had passed unmet while the request lived, and before `by`.

        The deadlines are TTFT and E2EL, counted from the arrival, and the largest gap. When a gap
        fell the log does not tell, so gaps are left out when there is a `by`. TPOT is a mean that
        later tokens may mend: it has no deadline. A time that is no number is never overdue.
        `by` is on the target's clock, like `request.arrival`.
        """
        timed = ((self.ttft_s, _first_token_s(request)), (self.e2el_s, request.e2el_s))
        if any(
            target is not None and took > target and request.arrival + target < by
            for target, took in timed
        ):
            return True
        if self.gap_max_s is None or by < math.inf:
            return False
        return _longest_gap_s(request) > self.gap_max_s

    def met_by(self, request: Exposure) -> bool:
        """Whether a finished request met every target; one that was not served never does."""
        if not request.served:
            return False
        pairs = (
            (self.ttft_s, request.ttft_s),
            (self.gap_max_s, request.gap_max_s),
            (self.tpot_s, request.tpot_s),
            (self.e2el_s, request.e2el_s),
        )
        # A request of one token has no gap: that target can't be missed.
        return request.ttft_s is not None and all(
            target is None or value is None or value <= target for target, value in pairs
        )

    def describe(self) -> str:
        """In words, such as `TTFT ≤ 1.5 s, largest gap ≤ 100 ms`."""
        parts = []
        names = (
            ("TTFT", self.ttft_s),
            ("largest gap", self.gap_max_s),
            ("TPOT", self.tpot_s),
            ("E2EL", self.e2el_s),
        )
        for name, value in names:
            if value is not None:
                parts.append(
                    f"{name} ≤ {value * 1000:.0f} ms" if value < 1 else f"{name} ≤ {value:g} s"
                )
        return ", ".join(parts) or "no target"


def _first_token_s(request: Exposure) -> float:
    """The wait for the first token (s): to the leaving of a client that never saw one.

    A failed request without one would have waited for ever.
    """
    if request.ttft_s is not None:
        return request.ttft_s
    return request.e2el_s if request.outcome is Outcome.ABORT else math.inf


def _longest_gap_s(request: Exposure) -> float:
    """The longest wait after a token (s), that in which a client left included; 0 without any.

    The last token came at ttft + tpot · (tokens − 1), since TPOT is the mean gap.
    """
    known_s = 0.0 if request.gap_max_s is None else request.gap_max_s
    tpot_s = request.tpot_s if request.output_tokens > 1 else 0.0
    if request.outcome is not Outcome.ABORT or request.ttft_s is None or tpot_s is None:
        return known_s
    last_token_s = request.ttft_s + tpot_s * (request.output_tokens - 1)
    return max(known_s, request.e2el_s - last_token_s)
