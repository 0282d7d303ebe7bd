"""The files for Prometheus, Alertmanager and Grafana: well-formed, and about metrics that exist."""

from __future__ import annotations

import json
import re
from importlib import import_module
from pathlib import Path

import pytest

from autotuner.tuner import Action
from tests.integration.prometheus.expressions import (
    boards,
    exported,
    metrics_in,
    queries,
    recorded,
    rules,
)
from tests.integration.prometheus.tools import DEPLOY, checked

# What comes from Prometheus itself, from node exporter and from DCGM exporter.
FOREIGN = {
    "ALERTS",
    "up",
    "node_cpu_seconds_total",
    "node_memory_MemAvailable_bytes",
    "node_memory_MemTotal_bytes",
    "DCGM_FI_DEV_FB_FREE",
    "DCGM_FI_DEV_FB_USED",
    "DCGM_FI_DEV_GPU_TEMP",
    "DCGM_FI_DEV_GPU_UTIL",
    "DCGM_FI_DEV_POWER_USAGE",
    "DCGM_FI_DEV_XID_ERRORS",
    "DCGM_FI_PROF_GR_ENGINE_ACTIVE",
}
SDK = "the source of the dashboards needs grafana-foundation-sdk"
RULE_TESTS = sorted((DEPLOY / "prometheus" / "tests").glob("*.yml"))


@pytest.mark.parametrize(
    ("expr", "names"),
    [
        (
            'sum by (target, le) (rate(worker:a_b_bucket{x="y", z=~"q|r"}[5m])) >= 0',
            {"worker:a_b_bucket"},
        ),
        ("1 - b_c / (d > 0) or vector(0)", {"b_c", "d"}),
        ("abs(a offset 1d) unless on (x) max_over_time(b[1h] offset 167h)", {"a", "b"}),
        ('{__name__=~"a|worker:b"}', {"a", "worker:b"}),
        ("1e3 * x", {"x"}),
    ],
)
def test_metrics_are_told_from_the_rest_of_an_expression(expr: str, names: set[str]) -> None:
    assert metrics_in(expr) == names


def test_rules_read_only_what_exists() -> None:
    known = exported() | recorded() | FOREIGN
    unknown = {
        rule.get("alert") or rule["record"]: gone
        for rule in rules()
        if (gone := metrics_in(rule["expr"]) - known)
    }
    assert unknown == {}


def test_dashboards_read_only_what_exists() -> None:
    known = exported() | recorded() | FOREIGN
    assert set(boards()) == {"fleet", "target", "experiment", "forecast"}
    unknown = {
        (name, where): gone
        for name, board in boards().items()
        for where, expr in queries(board)
        if (gone := metrics_in(expr) - known)
    }
    assert unknown == {}


def test_what_is_recorded_is_read() -> None:
    read = {name for rule in rules() for name in metrics_in(rule["expr"])}
    read |= {name for b in boards().values() for _, expr in queries(b) for name in metrics_in(expr)}
    assert recorded() - read == set()


def test_dashboards_name_actions_that_there_are() -> None:
    told = {
        action
        for board in boards().values()
        for _, expr in queries(board)
        for action in re.findall(r'action="([^"]+)"', expr)
    }
    assert told == {Action.PROMOTE.value, Action.ROLLBACK.value}


def test_alerts_carry_what_routes_and_people_need() -> None:
    for rule in rules():
        if "alert" in rule:
            assert rule["labels"]["severity"] in {"info", "warning", "critical"}, rule
            assert rule["labels"]["tier"] in {"hardware", "framework", "business", "daemon"}, rule
            assert "{{" in rule["annotations"]["summary"], rule


def test_every_alert_has_a_test_of_its_own() -> None:
    tested = set(re.findall(r"alertname: (\w+)", "".join(p.read_text() for p in RULE_TESTS)))
    assert tested == {rule["alert"] for rule in rules() if "alert" in rule}


def test_dashboards_are_what_their_source_makes() -> None:
    pytest.importorskip("grafana_foundation_sdk", reason=SDK)
    write = import_module("deploy.grafana.source.write")
    kept = {path.name: path.read_text(encoding="utf-8") for path in write.FOLDER.glob("*.json")}
    assert kept == write.files(), "run: python -m deploy.grafana.source.write"


def test_grafanas_own_types_read_the_dashboards_whole() -> None:
    sdk = "grafana_foundation_sdk"
    pytest.importorskip(sdk, reason=SDK)
    import_module(f"{sdk}.cog.plugins").register_default_plugins()
    read = import_module(f"{sdk}.models.dashboard").Dashboard.from_json
    encoder = import_module(f"{sdk}.cog.encoder").JSONEncoder
    for name, board in boards().items():
        assert json.loads(json.dumps(read(board), cls=encoder)) == board, name


def test_panels_lie_side_by_side() -> None:
    for name, board in boards().items():
        taken: set[tuple[int, int]] = set()
        for panel in board["panels"]:
            at = panel["gridPos"]
            cells = {
                (at["x"] + right, at["y"] + down)
                for right in range(at["w"])
                for down in range(at["h"])
            }
            assert not taken & cells, (name, panel["title"])
            assert at["x"] + at["w"] <= 24, (name, panel["title"])
            taken |= cells


@pytest.mark.process
def test_promtool_takes_the_configuration_and_its_rules() -> None:
    told = checked("promtool", "check", "config", "prometheus.yml", folder=DEPLOY / "prometheus")
    assert told.count("rules found") == 5


@pytest.mark.process
@pytest.mark.parametrize("path", RULE_TESTS, ids=lambda path: path.stem)
def test_rules_pass_their_own_tests(path: Path) -> None:
    assert "SUCCESS" in checked("promtool", "test", "rules", path.name, folder=path.parent)


@pytest.mark.process
def test_amtool_takes_the_configuration() -> None:
    path = str(DEPLOY / "alertmanager" / "alertmanager.yml")
    assert "SUCCESS" in checked("amtool", "check-config", path)


@pytest.mark.process
@pytest.mark.parametrize(
    ("labels", "receivers"),
    [
        (("alertname=GpuHot", "severity=critical", "autotuner=pause"), "autotuner,operators"),
        (("alertname=PeakAhead", "severity=info", "autotuner=start"), "autotuner,nobody"),
        (("alertname=GpuUtilisationHigh", "severity=info"), "nobody"),
        (("alertname=TargetDown", "severity=critical"), "operators"),
        (("alertname=KvCacheNearlyFull", "severity=warning"), "operators"),
    ],
)
def test_alerts_reach_whom_they_concern(labels: tuple[str, ...], receivers: str) -> None:
    config = f"--config.file={DEPLOY / 'alertmanager' / 'alertmanager.yml'}"
    told = checked("amtool", "config", "routes", "test", config, *labels)
    assert receivers in told.splitlines()
