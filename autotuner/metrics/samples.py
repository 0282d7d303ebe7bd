"""Prometheus text as samples: parsing and adding up series, with no idea of what they mean."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families

from autotuner.domain.telemetry import Histogram


@dataclass(frozen=True)
class Sample:
    """One line of a metrics page."""

    name: str
    labels: Mapping[str, str]
    value: float


Page = Mapping[str, tuple[Sample, ...]]  # by the sample's name, as it stands on the page


def parse_page(text: str) -> Page:
    """Every sample of a metrics page by name. Raises ValueError where it is not Prometheus text."""
    found: dict[str, list[Sample]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, []).append(
                Sample(sample.name, sample.labels, float(sample.value))
            )
    return {name: tuple(samples) for name, samples in found.items()}


def total(samples: Iterable[Sample]) -> float:
    return math.fsum(sample.value for sample in samples)


def histogram_of(page: Page, name: str) -> Histogram | None:
    """All series of the histogram `name` added up; None where the page does not have it.

    Series whose bucket edges differ can't be added: raises ValueError naming the histogram.
    """
    return merged(name, page.get(f"{name}_bucket", ()), page.get(f"{name}_sum", ()))


def merged(name: str, buckets: Iterable[Sample], sums: Iterable[Sample]) -> Histogram | None:
    """One histogram from the buckets and sums of several series with the same edges."""
    by_series: dict[tuple[tuple[str, str], ...], dict[float, float]] = {}
    for sample in buckets:
        series = tuple(sorted((k, v) for k, v in sample.labels.items() if k != "le"))
        by_series.setdefault(series, {})[float(sample.labels["le"])] = sample.value
    if not by_series:
        return None
    edges = {tuple(sorted(counts)) for counts in by_series.values()}
    if len(edges) > 1:
        raise ValueError(f"histogram {name}: its series have different buckets")
    bounds = edges.pop()
    if bounds[-1] != math.inf:
        raise ValueError(f"histogram {name}: the bucket le=+Inf is missing")
    counts = tuple(math.fsum(series[bound] for series in by_series.values()) for bound in bounds)
    return Histogram(bounds, counts, total(sums))
