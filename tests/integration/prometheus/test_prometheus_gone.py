"""A daemon that reads its target through Prometheus, and Prometheus goes away."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing

import pytest

from autotuner.domain.mode import Mode
from tests.integration.daemon.processes import until
from tests.integration.prometheus.stack import running
from tests.integration.prometheus.tools import ALERTMANAGER, NODE_EXPORTER, PROMETHEUS, found
from tests.integration.prometheus.watched import TARGET, Watched, WatchedRig

pytestmark = pytest.mark.process

GONE = "metrics can't be read"


@pytest.fixture
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """A target with poor settings under load, so that a daemon that sees it starts a test."""
    for names in (PROMETHEUS, ALERTMANAGER, NODE_EXPORTER):
        found(*names)
    rig = WatchedRig(tmp_path_factory.mktemp("gone"), mode=Mode.PAUSED)
    try:
        rig.start_worker()
        rig.start_load()
        addresses = (rig.worker_address, rig.daemon_address)
        with (
            closing(rig.history()) as history,
            running(rig.folder, *addresses, rig.token_file) as stack,
        ):
            rig.receiver = stack.receiver.url
            rig.metrics = {
                "prometheus": {"url": f"http://{stack.prometheus.address}", "max_age_s": 10},
                "selectors": ['job="worker"'],
            }
            until(lambda: bool(stack.query('up{job="worker"} == 1')))
            rig.start_daemon()
            yield Watched(rig, stack, history)
    finally:
        rig.close()


def test_without_prometheus_the_daemon_holds_and_tells_once(watched: Watched) -> None:
    def sentence() -> str:
        beat = watched.beat()
        return "" if beat is None else beat.sentence

    def cycles() -> int:
        beat = watched.beat()
        return 0 if beat is None else beat.cycles

    until(lambda: watched.mode() is Mode.PAUSED and cycles() >= 3)
    settings = watched.rig.live()
    assert GONE not in sentence()

    watched.stack.prometheus.stop()
    seen = cycles()
    until(lambda: cycles() >= seen + 2)  # the last that may have read it is over
    watched.history.ask(TARGET, "resume", "test", time.time())
    until(lambda: watched.mode() is Mode.ACTIVE)
    told = watched.stack.receiver.told
    until(lambda: bool(told("ScrapeFailed", "firing")))
    since = cycles()
    until(lambda: cycles() >= since + 3)
    assert GONE in sentence()
    assert len(told("ScrapeFailed", "firing")) == 1
    assert {alert.name for alert in watched.history.firing_alerts(TARGET)} == {"ScrapeFailed"}
    assert watched.history.open_experiments(TARGET) == []
    assert watched.rig.live() == settings

    watched.stack.prometheus.start()
    until(lambda: bool(watched.history.open_experiments(TARGET)))
