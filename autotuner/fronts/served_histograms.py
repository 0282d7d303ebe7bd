"""What a served request adds to the histograms of a front."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from autotuner.fronts.exposures import Exposure


class Observes(Protocol):
    """A histogram."""

    def observe(self, amount: float) -> None: ...


@dataclass(frozen=True)
class ServedHistograms:
    """Seconds, and tokens of prompt and answer; whose buckets and names is the front's business."""

    e2el: Observes
    queue: Observes
    tpot: Observes
    gap_max: Observes
    prompt: Observes
    generation: Observes

    def add(self, exposure: Exposure) -> None:
        self.e2el.observe(exposure.e2el_s)
        self.queue.observe(exposure.queue_s)
        self.prompt.observe(exposure.prompt_tokens)
        self.generation.observe(exposure.output_tokens)
        if exposure.tpot_s is not None:
            self.tpot.observe(exposure.tpot_s)
        if exposure.gap_max_s is not None:
            self.gap_max.observe(exposure.gap_max_s)
