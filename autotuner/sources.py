"""A target's metrics source from its configuration: the server, its hardware, further queries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from autotuner.config import MetricsConfig, PrometheusConfig, TargetConfig, read_secret
from autotuner.domain.energy import ENERGY_SERIES
from autotuner.domain.errors import ConfigError
from autotuner.domain.ports import MetricsSource
from autotuner.metrics.exporter import ExporterSource
from autotuner.metrics.families import canonical_names
from autotuner.metrics.hardware import CANONICAL
from autotuner.metrics.joined import JoinedSource
from autotuner.metrics.merged import MergedSource
from autotuner.metrics.nvml import NvmlSource, load_nvml
from autotuner.metrics.prometheus import (
    PrometheusHardwareSource,
    PrometheusServerSource,
    QuerySource,
)
from autotuner.metrics.promql import PromQL
from autotuner.metrics.rapl import POWERCAP, RaplSource
from autotuner.metrics.scrape import PrometheusTextSource


def metrics_source(target: TargetConfig) -> MetricsSource:
    """What the target's configuration asks for; nothing is read yet.

    Raises ConfigError for a token that can't be read, for NVML without its package, and for a
    query whose name is another series'.
    """
    asked, field = target.metrics, f"targets.{target.name}.metrics"
    prometheus = None if asked.prometheus is None else _client(asked.prometheus, field)
    server = _one(_servers(target, prometheus))
    beside = _beside(asked, prometheus, field)
    return JoinedSource(server, beside, metered=_METERED) if beside else server


def _client(asked: PrometheusConfig, field: str) -> PromQL:
    token = read_secret(asked.token_file, f"{field}.prometheus.token_file", for_header=True)
    return PromQL(asked.url, token, asked.timeout_s)


def _servers(target: TargetConfig, prometheus: PromQL | None) -> list[MetricsSource]:
    asked = target.metrics
    if prometheus is not None and asked.selectors:
        age_s = _age_s(asked)
        return [PrometheusServerSource(prometheus, one, age_s) for one in asked.selectors]
    return [PrometheusTextSource(url, target.timeout_s) for url in asked.urls or target.urls]


def _beside(
    asked: MetricsConfig, prometheus: PromQL | None, field: str
) -> dict[str, MetricsSource]:
    found: dict[str, MetricsSource] = {}
    gpus, hosts = _gpus(asked, prometheus, field), _hosts(asked, prometheus)
    if gpus:
        found["gpu"] = _one(gpus)
    if hosts:
        found["host"] = _one(hosts)
    if asked.rapl:
        found["cpu"] = rapl_source(asked)
    if prometheus is not None:
        _refuse_taken(asked.queries, f"{field}.queries")
        # Apart, so that a query that can't be answered takes no other with it.
        for name, query in asked.queries.items():
            found[name] = QuerySource(prometheus, name, query)
    return found


def _refuse_taken(queries: Mapping[str, str], field: str) -> None:
    """A query must not pass for a series that comes from elsewhere."""
    for name, query in queries.items():
        if name in _TAKEN or name.startswith(("setting_", "source_up_", "requests_")):
            raise ConfigError(
                f"{field}.{name}={query!r}: there is a series {name}: rename this one"
            )


# Ours, those that are computed of requests, and the names of the sources themselves.
_TAKEN = canonical_names() | CANONICAL | {"offered_rps", "attainment", "qps_stability"}
_TAKEN |= {"started_at", "gpu", "host", "cpu", *ENERGY_SERIES}
# Of these energy is expected where they are asked for.
_METERED = ("gpu", "cpu")


def rapl_source(asked: MetricsConfig) -> RaplSource:
    """The source of the processors' energy that the configuration names; nothing is read yet."""
    return RaplSource(asked.rapl if isinstance(asked.rapl, Path) else POWERCAP)


def _gpus(asked: MetricsConfig, prometheus: PromQL | None, field: str) -> list[MetricsSource]:
    if asked.nvml:
        devices = () if isinstance(asked.nvml, bool) else asked.nvml
        return [NvmlSource(load_nvml(f"{field}.nvml"), devices)]
    if prometheus is not None and asked.dcgm_selector is not None:
        return [PrometheusHardwareSource(prometheus, "dcgm", asked.dcgm_selector, _age_s(asked))]
    chosen = [str(gpu) for gpu in asked.dcgm_gpus]
    return [ExporterSource("dcgm", url, asked.timeout_s, chosen) for url in asked.dcgm]


def _hosts(asked: MetricsConfig, prometheus: PromQL | None) -> list[MetricsSource]:
    if prometheus is not None and asked.node_selectors:
        return [
            PrometheusHardwareSource(prometheus, "node", one, _age_s(asked))
            for one in asked.node_selectors
        ]
    return [ExporterSource("node", url, asked.timeout_s) for url in asked.node]


def _age_s(asked: MetricsConfig) -> float:
    return asked.prometheus.max_age_s if asked.prometheus is not None else 0.0


def _one(sources: Sequence[MetricsSource]) -> MetricsSource:
    return sources[0] if len(sources) == 1 else MergedSource(sources)
