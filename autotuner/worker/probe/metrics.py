"""The last probe's figures as Prometheus gauges."""

from __future__ import annotations

from autotuner.worker.metric_maker import MetricMaker
from autotuner.worker.probe.result import ProbeResult

GAUGES = {
    "agreement": "Share of golden answer tokens that were the model's most likely",
    "perplexity": "Perplexity of the golden answers",
    "log_prob_drop": "Mean drop of their log-probability against the float32 model, nats",
    "accuracy": "Share of generated answers that contained what was expected",
    "generation": "Generation of the settings that the last probe measured",
}


class ProbeMetrics:
    """A series appears with the first probe: before it there is nothing to tell."""

    def __init__(self, make: MetricMaker) -> None:
        self._model_name = make.model_name
        self._gauges = {
            name: make.labelled_gauge(f"probe_{name}", told) for name, told in GAUGES.items()
        }

    def set(self, result: ProbeResult) -> None:
        values = {
            "agreement": result.agreement,
            "perplexity": result.perplexity,
            "log_prob_drop": result.mean_log_prob_drop,
            "accuracy": result.accuracy,
            "generation": result.generation,
        }
        for name, value in values.items():
            if value is not None:
                self._gauges[name].labels(self._model_name).set(value)
