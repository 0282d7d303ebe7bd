"""A request as a target's log tells it, for tests to vary."""

from __future__ import annotations

from autotuner.domain.telemetry import Exposure, Outcome

SERVED = Exposure(
    seq=1,
    id="r",
    generation_start=1,
    generation_end=1,
    arrival=100.0,
    queue_s=0.0,
    ttft_s=0.4,
    tpot_s=0.04,
    gap_max_s=0.06,
    e2el_s=0.8,
    prompt_tokens=10,
    output_tokens=11,
    outcome=Outcome.STOP,
)
