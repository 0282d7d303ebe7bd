"""What the fine-tuning of a target's model tells Prometheus."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from prometheus_client import CollectorRegistry, Gauge

from autotuner.domain.fine_tuning import FineTune, Intake, Stage


class FineTuningGauges:
    """Set from the history and from what a run says, for targets whose model learns."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._update_s = Gauge(
            "autotuner_finetune_gradient_update_seconds",
            "Time of the last gradient update of the training that is under way; NaN without one",
            ["target"],
            registry=registry,
        )
        self._progress = Gauge(
            "autotuner_finetune_progress_ratio",
            "Share of its updates that the training under way has made, 0..1; NaN without one",
            ["target"],
            registry=registry,
        )
        self._loss = Gauge(
            "autotuner_finetune_loss",
            "Training loss of the last update, nats per answer token; NaN without a training",
            ["target"],
            registry=registry,
        )
        self._stages = Gauge(
            "autotuner_finetunes",
            "Fine-tunes by what became of them",
            ["target", "stage"],
            registry=registry,
        )
        self._examples = Gauge(
            "autotuner_finetune_examples",
            "Examples that were read from files, by what became of them",
            ["target", "fate"],
            registry=registry,
        )

    def running(self, target: str, told: Mapping[str, Any]) -> None:
        """`told`: the last word of the run under way; empty where none is."""
        steps = float(told.get("steps", math.nan))
        self._update_s.labels(target).set(float(told.get("gradient_update_s", math.nan)))
        self._progress.labels(target).set(float(told.get("step", math.nan)) / steps)
        self._loss.labels(target).set(float(told.get("loss", math.nan)))

    def known(self, target: str, tunes: Iterable[FineTune], intakes: Iterable[Intake]) -> None:
        """All that the history has of the target."""
        counted = Counter(tune.stage for tune in tunes)
        for stage in Stage:
            self._stages.labels(target, stage.value).set(counted[stage])
        fates: Counter[str] = Counter()
        for intake in intakes:
            fates["kept"] += intake.kept
            fates["exact_duplicate"] += intake.exact_duplicates
            fates["near_duplicate"] += intake.near_duplicates
            fates["dropped"] += sum(intake.dropped.values())
        for fate in ("kept", "exact_duplicate", "near_duplicate", "dropped"):
            self._examples.labels(target, fate).set(fates[fate])
