"""Service-level objectives per request: goodput asks that ONE request meets ALL of them."""

from __future__ import annotations

from dataclasses import dataclass

from autotuner.domain.telemetry import Exposure


@dataclass(frozen=True)
class SLO:
    """Targets per request, seconds; None means that the target is not asked for."""

    ttft_s: float | None = None
    gap_max_s: float | None = None
    tpot_s: float | None = None
    e2el_s: float | None = None

    def met_by(self, request: Exposure) -> bool:
        """Whether a finished request met every target; errors and rejections never do."""
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
