"""Which metrics a PromQL expression reads, and which the worker and the daemon export."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from prometheus_client import CollectorRegistry

from autotuner.fronts.feedback import FeedbackLog
from autotuner.instruments import Instruments
from autotuner.worker.fleet_metrics import FleetMetrics
from autotuner.worker.metric_maker import MetricMaker
from autotuner.worker.observability import Buckets, WorkerMetrics
from autotuner.worker.pipeline.metrics import PipelineMetrics
from autotuner.worker.probe.metrics import ProbeMetrics
from tests.integration.prometheus.tools import DEPLOY

_SUFFIXES = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count"), "gauge": ("",)}
# Not metrics: labels that are grouped by, matchers, ranges, strings; then what is called.
_ASIDE = re.compile(
    r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)|\{[^}]*\}|\[[^\]]*\]|\"[^\"]*\""
)
_NAME = re.compile(r"(?<![\w:.])[a-zA-Z_:][\w:]*(?!\s*\()(?![\w:])")
_WORDS = frozenset({"or", "and", "unless", "offset", "bool"})
_DURATION = re.compile(r"\boffset\s+\w+")


def metrics_in(expr: str) -> set[str]:
    """The names of the series that the expression reads."""
    selector = re.findall(r"__name__=~\"([^\"]+)\"", expr)
    named = {name for pattern in selector for name in pattern.split("|")}
    bare = _DURATION.sub("", _ASIDE.sub(" ", expr))
    return named | ({found.group() for found in _NAME.finditer(bare)} - _WORDS)


def exported() -> set[str]:
    """The names on the pages of a worker and a daemon, also those that come with an event."""
    front = WorkerMetrics("m", Buckets(), running=_zero, waiting=_zero)
    make = MetricMaker(front.registry, "m")
    FleetMetrics(make)
    PipelineMetrics(make, entries=_zero, tokens=_zero)
    ProbeMetrics(make)
    FeedbackLog(lambda _id: None, time.time, make)
    return _names(front.registry) | _names(Instruments().registry)


def _zero() -> int:
    return 0


def _names(registry: CollectorRegistry) -> set[str]:
    return {
        f"{family.name}{suffix}"
        for family in registry.collect()
        for suffix in _SUFFIXES[family.type]
    }


def rules() -> list[dict[str, Any]]:
    """Every rule that ships."""
    pages = [yaml.safe_load(path.read_text()) for path in rule_files()]
    return [rule for page in pages for group in page["groups"] for rule in group["rules"]]


def rule_files() -> list[Path]:
    return sorted((DEPLOY / "prometheus" / "rules").glob("*.yml"))


def recorded() -> set[str]:
    return {rule["record"] for rule in rules() if "record" in rule}


def boards() -> dict[str, Any]:
    """The dashboards that ship, by name."""
    return {path.stem: json.loads(path.read_text()) for path in (DEPLOY / "grafana").glob("*.json")}


def queries(board: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """(where, expression) of a dashboard's panels, annotations and variables."""
    for panel in board["panels"]:
        for query in panel.get("targets", ()):
            yield panel["title"], query["expr"]
    for mark in board["annotations"]["list"]:
        yield mark["name"], mark["expr"]
    for variable in board["templating"]["list"]:
        if variable["type"] == "query":
            inner = re.fullmatch(r"label_values\((.*), \w+\)", variable["query"])
            assert inner is not None, variable["query"]
            yield variable["name"], inner.group(1)
