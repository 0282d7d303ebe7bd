"""Makes Prometheus metrics with the prefix and the label that all of the worker's have."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram


class MetricMaker:
    """Makes metrics in one registry; labelled ones are families whose first label is the model."""

    def __init__(self, registry: CollectorRegistry, model_name: str) -> None:
        self._registry, self.model_name = registry, model_name

    def labelled_histogram(
        self, name: str, told: str, edges: Iterable[float], label: str
    ) -> Histogram:
        labels = ("model_name", label)
        return Histogram(
            f"worker:{name}", told, labels, buckets=tuple(edges), registry=self._registry
        )

    def histogram(self, name: str, told: str, edges: Iterable[float]) -> Histogram:
        labels = ("model_name",)
        family = Histogram(
            f"worker:{name}", told, labels, buckets=tuple(edges), registry=self._registry
        )
        return family.labels(self.model_name)

    def labelled_counter(self, name: str, told: str, label: str) -> Counter:
        return Counter(f"worker:{name}", told, ("model_name", label), registry=self._registry)

    def counter(self, name: str, told: str) -> Counter:
        family = Counter(f"worker:{name}", told, ("model_name",), registry=self._registry)
        return family.labels(self.model_name)

    def labelled_gauge(self, name: str, told: str, *labels: str) -> Gauge:
        return Gauge(f"worker:{name}", told, ("model_name", *labels), registry=self._registry)

    def gauge(self, name: str, told: str) -> Gauge:
        family = Gauge(f"worker:{name}", told, ("model_name",), registry=self._registry)
        return family.labels(self.model_name)
