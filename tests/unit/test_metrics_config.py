"""Where a target's numbers come from: what is refused, and what each choice is wired to."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from autotuner.config import TargetConfig, parse_config
from autotuner.domain.errors import ConfigError
from autotuner.domain.ports import MetricsSource
from autotuner.metrics.joined import JoinedSource
from autotuner.metrics.merged import MergedSource
from autotuner.metrics.prometheus import PrometheusServerSource
from autotuner.metrics.scrape import PrometheusTextSource
from autotuner.resources import resource_folder
from autotuner.sources import metrics_source

PROMETHEUS = {"url": "http://p:9090"}
ONE = {"url": "http://a:8000"}
TWO = {"replicas": ["http://a:8000", "http://b:8000"]}


def target(address: dict[str, Any], **metrics: Any) -> TargetConfig:
    return parse_config({"targets": [{"name": "t", **address, "metrics": metrics}]}).targets[0]


@pytest.mark.parametrize(
    ("metrics", "told"),
    [
        ({"prometeus": PROMETHEUS}, "prometeus: unknown key"),
        ({"selectors": ['job="x"']}, "selectors asks a Prometheus server: give prometheus"),
        ({"queries": {"cost": "sum(c)"}}, "queries asks a Prometheus server"),
        ({"prometheus": PROMETHEUS}, "prometheus.url='http://p:9090' is asked nothing"),
        ({"prometheus": PROMETHEUS, "selectors": ["job=x"]}, "selectors.0='job=x'"),
        ({"prometheus": PROMETHEUS, "selectors": ['{job="x"}']}, "selectors.0="),
        (
            {"prometheus": PROMETHEUS, "selectors": ['job="x"'] * 2},
            r"metrics.selectors are 2 for 1 replica\(s\): give one each",
        ),
        ({"urls": ["http://a:1", "http://a:2"]}, "metrics.urls are 2 for 1"),
        (
            {"prometheus": PROMETHEUS, "selectors": ['job="x"'], "urls": ["http://a"]},
            "urls and selectors tell the same",
        ),
        ({"nvml": True, "dcgm": ["http://a:9400"]}, "dcgm and nvml tell the same"),
        ({"nvml": [-1]}, "nvml"),
        ({"dcgm_gpus": [0]}, "dcgm_gpus are GPUs of the exporters in dcgm"),
        (
            {"prometheus": PROMETHEUS, "queries": {"Cost": "sum(c)"}},
            "queries.Cost",
        ),
    ],
)
def test_what_can_not_be_meant_is_refused(metrics: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        target(ONE, **metrics)


@pytest.mark.parametrize(
    ("address", "metrics", "kind"),
    [
        (ONE, {}, PrometheusTextSource),
        (TWO, {}, MergedSource),
        (ONE, {"urls": ["http://side:9000/metrics"]}, PrometheusTextSource),
        (ONE, {"prometheus": PROMETHEUS, "selectors": ['job="x"']}, PrometheusServerSource),
        (TWO, {"prometheus": PROMETHEUS, "selectors": ['a="1"', 'a="2"']}, MergedSource),
        (ONE, {"dcgm": ["http://a:9400", "http://b:9400"]}, JoinedSource),
        (ONE, {"dcgm": ["http://a:9400"], "dcgm_gpus": [0, "GPU-1"]}, JoinedSource),
        (ONE, {"node": ["http://a:9100"]}, JoinedSource),
        (ONE, {"rapl": True}, JoinedSource),
        (ONE, {"rapl": "/host/sys/class/powercap"}, JoinedSource),
        (ONE, {"rapl": False}, PrometheusTextSource),
        (ONE, {"prometheus": PROMETHEUS, "dcgm_selector": 'job="dcgm"'}, JoinedSource),
        (ONE, {"prometheus": PROMETHEUS, "node_selectors": ['job="node"']}, JoinedSource),
        (ONE, {"prometheus": PROMETHEUS, "queries": {"cost": "sum(c)"}}, JoinedSource),
    ],
)
def test_each_choice_has_its_source(
    address: dict[str, Any], metrics: dict[str, Any], kind: type[MetricsSource]
) -> None:
    assert type(metrics_source(target(address, **metrics))) is kind


def test_a_token_that_can_not_be_read_names_its_field() -> None:
    asked = {"prometheus": PROMETHEUS | {"token_file": "/nowhere"}, "selectors": ['job="x"']}
    with pytest.raises(ConfigError, match=r"targets\.t\.metrics\.prometheus\.token_file"):
        metrics_source(target(ONE, **asked))


@pytest.mark.parametrize("name", ["ttft_s", "power_w", "attainment", "requests_error", "cpu"])
def test_a_query_can_not_take_another_series_name(name: str) -> None:
    asked = target(ONE, prometheus=PROMETHEUS, queries={name: "sum(c)"})
    with pytest.raises(ConfigError, match=rf"metrics\.queries\.{name}='sum\(c\)'.*rename"):
        metrics_source(asked)


def test_the_documented_example_can_be_used_but_for_its_token() -> None:
    docs = resource_folder("policies").parent / "docs" / "metrics.md"
    example = yaml.safe_load(docs.read_text("utf-8").split("```yaml\n")[1].split("```")[0])
    with pytest.raises(ConfigError, match=r"prometheus.token_file='/etc/autotuner"):
        metrics_source(parse_config(example).targets[0])
    del example["targets"][0]["metrics"]["prometheus"]["token_file"]
    assert isinstance(metrics_source(parse_config(example).targets[0]), JoinedSource)


def test_scrapes_may_lie_as_far_apart_as_prometheus_makes_them() -> None:
    rare = PROMETHEUS | {"max_age_s": 150}
    assert target(ONE, prometheus=rare, selectors=['job="x"']).metrics.patience_s == 300
    assert target(ONE, prometheus=rare, queries={"cost": "sum(c)"}).metrics.patience_s == 0
