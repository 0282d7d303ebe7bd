"""Worker → Prometheus → rules → Alertmanager → people and the daemon, and back. All real."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime

import pytest

from autotuner.domain.mode import Mode
from tests.integration.daemon.processes import kill, until
from tests.integration.prometheus.expressions import boards, queries, recorded
from tests.integration.prometheus.stack import running
from tests.integration.prometheus.tools import (
    ALERTMANAGER,
    NODE_EXPORTER,
    PROMETHEUS,
    checked,
    found,
)
from tests.integration.prometheus.watched import TARGET, Watched, WatchedRig

pytestmark = pytest.mark.process

# Need a GPU, hours of the past, or an event that has not happened here.
WITHOUT_DATA = {
    "gpu:utilisation:ratio",
    "gpu:memory_used:ratio",
    "target:feedback_score:mean1h",
    "target:requests:seasonal_peak1h",
    "target:step_seconds:usual_p99_1d",
}


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """A worker with a fake engine under load, the daemon, and everything that watches them."""
    for names in (PROMETHEUS, ALERTMANAGER, NODE_EXPORTER):
        found(*names)
    rig = WatchedRig(tmp_path_factory.mktemp("watched"))
    try:
        rig.start_worker()
        rig.start_load()
        rig.start_daemon()
        addresses = (rig.worker_address, rig.daemon_address)
        with (
            closing(rig.history()) as history,
            running(rig.folder, *addresses, rig.token_file) as stack,
        ):
            yield Watched(rig, stack, history)
    finally:
        rig.close()


def test_everything_is_scraped(watched: Watched) -> None:
    jobs = {"worker", "autotuner", "node", "prometheus", "alertmanager"}

    def up() -> set[str]:
        return {series["metric"]["job"] for series in watched.stack.query("up == 1")}

    until(lambda: up() == jobs)


def test_every_rule_can_be_evaluated(watched: Watched) -> None:
    until(lambda: all(rule["health"] != "unknown" for rule in watched.stack.rules()))
    unwell = {r["name"]: r.get("lastError") for r in watched.stack.rules() if r["health"] != "ok"}
    assert unwell == {}


def test_what_is_recorded_has_values(watched: Watched) -> None:
    def missing() -> set[str]:
        there = watched.stack.query('{__name__=~"(target|node|gpu):.+"}')
        return recorded() - WITHOUT_DATA - {series["metric"]["__name__"] for series in there}

    until(lambda: missing() == set())


def test_every_query_of_the_dashboards_is_understood(watched: Watched) -> None:
    for board in boards().values():
        for _, expr in queries(board):
            watched.stack.query(_filled(expr))


def test_every_panel_of_a_target_shows_something_save_for_want_of_meters(watched: Watched) -> None:
    def empty() -> set[str]:
        shown = list(queries(boards()["target"]))
        full = {title for title, expr in shown if watched.stack.query(_filled(expr))}
        return {title for title, _ in shown} - full - {"Alerts", "Settings changed"}

    unmeasured = {"GPUs", "Temperature of GPUs", "Power", "Energy of a token"}
    until(lambda: empty() == unmeasured)


def _filled(expr: str) -> str:
    """The expression as Grafana sends it."""
    return expr.replace("$__rate_interval", "1m").replace("$target", TARGET)


def test_an_alert_that_asks_for_it_pauses_tuning_until_it_is_over(watched: Watched) -> None:
    until(lambda: watched.mode() is Mode.ACTIVE)
    words = ("alertname=GpuHot", f"target={TARGET}", "severity=critical", "autotuner=pause")
    url = f"--alertmanager.url=http://{watched.stack.alertmanager.address}"
    checked("amtool", url, "alert", "add", *words)
    until(lambda: watched.mode() is Mode.PAUSED)
    until(lambda: bool(watched.stack.receiver.told("GpuHot", "firing")))
    checked("amtool", url, "alert", "add", f"--end={_now()}", *words)
    until(lambda: watched.mode() is Mode.ACTIVE)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def test_a_worker_that_is_away_is_told_and_so_is_its_return(watched: Watched) -> None:
    rig, receiver = watched.rig, watched.stack.receiver
    worker = rig.children[0]
    assert receiver.told("WorkerDown", "firing") == []
    kill(worker)
    until(lambda: bool(receiver.told("WorkerDown", "firing")))
    [first, *_] = receiver.told("WorkerDown", "firing")
    assert first["labels"]["target"] == TARGET
    assert first["labels"]["severity"] == "critical"
    assert first["annotations"]["summary"] == (
        f"Worker {rig.worker_address} of {TARGET} does not answer scrapes"
    )
    rig.start_worker()
    until(lambda: bool(receiver.told("WorkerDown", "resolved")))
    [last, *_] = receiver.told("WorkerDown", "resolved")
    assert last["fingerprint"] == first["fingerprint"]
