"""The daemon's own Prometheus metrics, in a registry of its own."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from autotuner.budget_gauges import BudgetGauges
from autotuner.domain.experiment import Experiment
from autotuner.energy_gauges import EnergyGauges
from autotuner.fine_tuning_gauges import FineTuningGauges
from autotuner.forecast_gauges import ForecastGauges
from autotuner.tuner import Traffic

CYCLE_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class Instruments:
    """What the daemon tells of itself; one instance per process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._cycles = Counter(
            "autotuner_cycles",
            "Cycles by what they did",
            ["target", "action"],
            registry=self.registry,
        )
        self.cycle_seconds = Histogram(
            "autotuner_cycle_seconds",
            "Time of one cycle",
            ["target"],
            buckets=CYCLE_BUCKETS,
            registry=self.registry,
        )
        self.failures = Counter(
            "autotuner_cycle_failures", "Cycles that raised", ["target"], registry=self.registry
        )
        self.misfires = Counter(
            "autotuner_misfires",
            "Runs of a job that came late or were merged into the next",
            ["job"],
            registry=self.registry,
        )
        self._attainment = Gauge(
            "autotuner_attainment",
            "Recent joint SLO attainment, 0..1",
            ["target"],
            registry=self.registry,
        )
        self._offered = Gauge(
            "autotuner_offered_rps",
            "Requests that ended per second",
            ["target"],
            registry=self.registry,
        )
        self._confidence = Gauge(
            "autotuner_experiment_confidence",
            "Anytime-valid confidence of the running test, 0..1",
            ["target"],
            registry=self.registry,
        )
        self._pairs = Gauge(
            "autotuner_experiment_pairs",
            "Pairs counted in the running test",
            ["target"],
            registry=self.registry,
        )
        self._deliveries = Counter(
            "autotuner_alert_deliveries",
            "Attempts to deliver an alert, by what became of them",
            ["receiver", "result"],
            registry=self.registry,
        )
        self._model_error = Gauge(
            "autotuner_model_error_ratio",
            "Median error of the agent's model over the last hour (0.3 is 30%), by figure",
            ["target", "figure"],
            registry=self.registry,
        )
        self._model_figures: dict[str, set[str]] = defaultdict(set)
        self._history_up = Gauge(
            "autotuner_history_up",
            "Whether the history's database answered in the last cycle (1) or not (0)",
            ["target"],
            registry=self.registry,
        )
        self._history_waiting = Gauge(
            "autotuner_history_waiting",
            "Writes that wait for the history's database",
            ["target"],
            registry=self.registry,
        )
        self._history_dropped = Gauge(
            "autotuner_history_dropped",
            "Writes that were lost since the daemon began, the database being away for too long",
            ["target"],
            registry=self.registry,
        )
        self.leader = Gauge(
            "autotuner_leader",
            "1 where this daemon leads those that share its history, 0 where it stands by",
            registry=self.registry,
        )
        self.forecasts = ForecastGauges(self.registry)
        self.fine_tuning = FineTuningGauges(self.registry)
        self.energy = EnergyGauges(self.registry)
        self.budget = BudgetGauges(self.registry)
        self.alerts_waiting = Gauge(
            "autotuner_alerts_undelivered", "Alerts still in the outbox", registry=self.registry
        )

    def cycle(self, target: str, action: str) -> None:
        self._cycles.labels(target, action).inc()

    def history(self, target: str, *, away: bool, waiting: int, dropped: int) -> None:
        self._history_up.labels(target).set(0 if away else 1)
        self._history_waiting.labels(target).set(waiting)
        self._history_dropped.labels(target).set(dropped)

    def model(self, target: str, errors: Mapping[str, float]) -> None:
        """Figures of which too little is known any more read NaN, not their last value."""
        for figure in self._model_figures[target] - set(errors):
            self._model_error.labels(target, figure).set(math.nan)
        for figure, error in errors.items():
            self._model_error.labels(target, figure).set(error)
        self._model_figures[target] |= set(errors)

    def delivered(self, receiver: str, taken: int, failed: int) -> None:
        self._deliveries.labels(receiver, "delivered").inc(taken)
        self._deliveries.labels(receiver, "failed").inc(failed)

    def traffic(self, target: str, traffic: Traffic | None) -> None:
        if traffic is not None:
            self._attainment.labels(target).set(traffic.attainment)
            self._offered.labels(target).set(traffic.workload.rate_rps)

    def experiment(self, target: str, experiment: Experiment | None) -> None:
        looks = experiment.looks if experiment else ()
        self._confidence.labels(target).set(looks[-1].confidence if looks else 0.0)
        self._pairs.labels(target).set(looks[-1].pairs if looks else 0)
