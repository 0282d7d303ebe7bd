"""Three readings of "utilisation" over a window of engine steps. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from experiments.studies.dynamic_batching.serving import StepLog


@dataclass(frozen=True)
class BestRates:
    """Tokens per second of this engine at its best batch: full chunks; a full decode batch."""

    prefill_tokens_per_s: float
    decode_tokens_per_s: float


@dataclass(frozen=True)
class Utilisation:
    """Shares of the window, 0 to 1.

    `busy`: time in which the engine computes, whatever it computes (what a device's own counter
    tells). `slots`: places of the batch that hold a request. `useful`: the time that the window's
    tokens would have taken at the best batch; idle time, empty places and small batches all count
    against it.
    """

    busy: float
    slots: float
    useful: float


def utilisation(
    steps: Sequence[StepLog], window_s: float, slots: int, best: BestRates
) -> Utilisation:
    """Of the steps of a window that lasted `window_s`, on an engine with `slots` places."""
    prefill = sum(step.prefill_tokens for step in steps)
    decode = sum(step.decode_tokens for step in steps)
    needed_s = prefill / best.prefill_tokens_per_s + decode / best.decode_tokens_per_s
    return Utilisation(
        busy=sum(step.step_s for step in steps) / window_s,
        slots=sum(step.step_s * step.running for step in steps) / (slots * window_s),
        useful=needed_s / window_s,
    )


def while_waiting(steps: Sequence[StepLog]) -> list[StepLog]:
    """The steps up to the last that left requests waiting: saturation, without its tail."""
    waiting = [index for index, step in enumerate(steps) if step.backlog]
    return list(steps[: waiting[-1] + 1]) if waiting else list(steps)
