"""What a test can compare: the measures of a slot, and how two slots are compared by each."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from autotuner.domain.experiment import Arm, Plan, SlotOutcome, Upkeep


class Link(StrEnum):
    """How two values become one difference: subtracted, or by the log of their ratio."""

    DIFFERENCE = "difference"
    LOG_RATIO = "log_ratio"


@dataclass(frozen=True)
class Measure:
    """One figure of a slot. `value` is NaN where it was not measured.

    `words`: the noun used in sentences; `unit` that of the value. `needs_probe`: answers have to be
    scored; others come from what was served anyway.
    """

    name: str
    words: str
    unit: str
    link: Link
    higher_is_better: bool
    value: Callable[[SlotOutcome, Upkeep], float]  # (slot, what its arm takes)
    needs_probe: bool = False

    def difference(
        self, control: SlotOutcome, treatment: SlotOutcome, plan: Plan | None = None
    ) -> float:
        """Signed so that positive is better; NaN where one side is missing, or has no log.

        `plan`: says what each arm takes; only costs and devices ask.
        """
        takes = plan or Plan()
        a = self.value(control, takes.upkeep(Arm.CONTROL))
        b = self.value(treatment, takes.upkeep(Arm.TREATMENT))
        sign = 1.0 if self.higher_is_better else -1.0
        if self.link is Link.DIFFERENCE:
            return sign * (b - a)
        return sign * (math.log(b) - math.log(a)) if a > 0 and b > 0 else math.nan

    def shift(self, margin: float) -> float:
        """A margin (share or units) as a shift of the difference, positive."""
        return math.log1p(margin) if self.link is Link.LOG_RATIO else margin

    @property
    def span(self) -> tuple[float, float]:
        """The differences that are possible at all."""
        bounded = self.link is Link.DIFFERENCE and self.unit == "share"
        return (-1.0, 1.0) if bounded else (-math.inf, math.inf)


def measure(name: str) -> Measure:
    """The measure of that name; raises ValueError naming the known ones."""
    try:
        return MEASURES[name]
    except KeyError:
        known = ", ".join(MEASURES)
        raise ValueError(f"{name!r} is no measure: give one of {known}") from None


def _good_rate(slot: SlotOutcome, _takes: Upkeep) -> float:
    """Half a request is added, so that a slot that served nothing well still has a log."""
    return (slot.good + 0.5) / slot.counted_s if slot.counted_s > 0 else math.nan


def _energy_per_request(slot: SlotOutcome, _takes: Upkeep) -> float:
    return slot.energy_j / slot.requests if slot.requests else math.nan


def _energy_per_token(slot: SlotOutcome, _takes: Upkeep) -> float:
    """By the tokens that were generated: what prompts took is in it, and so is idleness."""
    return slot.energy_j / slot.output_tokens if slot.output_tokens else math.nan


def _cost_per_million(slot: SlotOutcome, takes: Upkeep) -> float:
    tokens = slot.prompt_tokens + slot.output_tokens
    return takes.price_per_hour * slot.counted_s / 3600 / tokens * 1e6 if tokens else math.nan


def _devices(slot: SlotOutcome, takes: Upkeep) -> float:
    """NaN of a slot that served nobody: to need few devices for nothing is no saving."""
    return takes.devices if slot.requests else math.nan


def _throughput(slot: SlotOutcome, _takes: Upkeep) -> float:
    return slot.output_tokens / slot.counted_s if slot.counted_s > 0 else math.nan


_RATIO, _DIFFERENCE = Link.LOG_RATIO, Link.DIFFERENCE

MEASURES = {
    m.name: m
    for m in (
        Measure(
            "attainment", "attainment", "share", _DIFFERENCE, True, lambda s, _: s.attainment
        ),
        Measure("goodput", "goodput", "requests/s", _RATIO, True, _good_rate),
        Measure("throughput", "throughput", "tokens/s", _RATIO, True, _throughput),
        Measure("e2el", "whole-request time", "s", _RATIO, False, lambda s, _: s.e2el_mean_s),
        Measure(
            "e2el_p95", "P95 of whole-request time", "s", _RATIO, False, lambda s, _: s.e2el_p95_s
        ),
        Measure("ttft", "time to first token", "s", _RATIO, False, lambda s, _: s.ttft_mean_s),
        Measure("ttft_p95", "P95 of TTFT", "s", _RATIO, False, lambda s, _: s.ttft_p95_s),
        Measure("gap_p95", "P95 of the largest gap", "s", _RATIO, False, lambda s, _: s.gap_p95_s),
        Measure(
            "error_share", "share of errors", "share", _DIFFERENCE, False,
            lambda s, _: s.error_share if s.requests else math.nan,
        ),
        Measure("energy", "energy per request", "J", _RATIO, False, _energy_per_request),
        Measure(
            "energy_per_token", "energy per generated token", "J", _RATIO, False,
            _energy_per_token,
        ),
        Measure("cost", "cost per million tokens", "currency", _RATIO, False, _cost_per_million),
        Measure("devices", "devices in use", "devices", _RATIO, False, _devices),
        Measure(
            "quality", "quality of answers", "share", _DIFFERENCE, True, lambda s, _: s.quality,
            needs_probe=True,
        ),
        Measure("feedback", "users' score", "share", _DIFFERENCE, True, lambda s, _: s.feedback),
    )
}  # fmt: skip
