"""The daemon reads through a Prometheus server that is stopped for three cycles."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from autotuner.bootstrap import Ends, assemble
from autotuner.forecast.service import Forecaster, ForecastSettings
from autotuner.history.engine import open_engine
from autotuner.history.upgrade import upgrade
from autotuner.instruments import Instruments
from autotuner.metrics.prometheus import PrometheusServerSource
from autotuner.metrics.promql import PromQL
from autotuner.replay import SimulatedTarget
from tests.integration.daemon.loop import POLICY, POOR, START, FragileHistory, Loop, make_loop

pytestmark = pytest.mark.process


@dataclass
class Prometheus:
    """Tells the target's last scrape as the query API does, until it is stopped."""

    target: SimulatedTarget
    port: int = 0
    _server: ThreadingHTTPServer | None = None
    _thread: threading.Thread | None = None

    def start(self) -> None:
        told = self.answer

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                content = told()
                self.send_response(200)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: object) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self.port = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    def stop(self) -> None:
        if self._server is not None and self._thread is not None:
            self._server.shutdown()
            self._thread.join()
            self._server.server_close()
            self._server = None

    def answer(self) -> bytes:
        seen = self.target.snapshot()
        named = {
            "worker:requests_total": seen.counters["requests"],
            "worker:num_requests_running": seen.gauges["running"],
        }
        result = [
            {
                "metric": {"__name__": name, "outcome": "stop", "instance": "a"},
                "values": [[seen.at, str(value)]],
            }
            for name, value in named.items()
        ]
        data = {"resultType": "matrix", "result": result}
        return json.dumps({"status": "success", "data": data}).encode()


@dataclass
class ScrapedLoop(Loop):
    """The loop of the crash tests, its metrics read from Prometheus."""

    prometheus: Prometheus = field(init=False)

    def restart(self) -> None:
        url = f"sqlite:///{self.folder / 'history.sqlite3'}"
        upgrade(url)
        self.history = FragileHistory(open_engine(url))
        self.prometheus = Prometheus(self.target)
        self.prometheus.start()
        server = PromQL(f"http://127.0.0.1:{self.prometheus.port}", timeout_s=2.0)
        ends = Ends(self.target, PrometheusServerSource(server, 'job="w"'), stale_s=1e9)
        forecaster = Forecaster(ForecastSettings(use_prophet=False))
        self.daemon = assemble(
            "t", "simulated:", POLICY, self.history, Instruments(), ends, forecaster
        )

    def cycle_after(self, seconds: float) -> str:
        self.now += seconds
        self.target.advance(self.now, POLICY.slo.to_domain())
        return self.daemon.run_cycle(self.now)


@pytest.fixture
def loop(tmp_path: Path) -> Iterator[ScrapedLoop]:
    made = ScrapedLoop(tmp_path, make_loop(tmp_path).target)
    yield made
    made.prometheus.stop()


def actions(loop: ScrapedLoop, limit: int) -> list[str]:
    return [one.action for one in reversed(loop.history.decisions("t", limit=limit))]


def firing(loop: ScrapedLoop) -> list[tuple[str, bool]]:
    return [(alert.name, alert.firing) for alert in loop.history.alerts("t", since=START)]


def test_three_cycles_without_prometheus_hold_and_raise_one_alert(loop: ScrapedLoop) -> None:
    for _ in range(5):
        loop.cycle_after(2.0)
    loop.prometheus.stop()
    reasons = [loop.cycle_after(30.0) for _ in range(3)]
    assert [reason for reason in reasons if "metrics can't be read" not in reason] == []
    assert set(actions(loop, 9)) == {"HOLD"}
    assert (loop.target.applies, loop.live) == (0, POOR)
    assert firing(loop) == [("ScrapeFailed", True)]

    loop.prometheus.start()
    loop.cycle_after(2.0)
    assert actions(loop, 1) == ["START"]  # it had had the traffic to start long before
    for _ in range(3):
        loop.cycle_after(30.0)
    assert firing(loop) == [("ScrapeFailed", False)]


def test_a_running_test_goes_on_from_what_the_target_itself_tells(loop: ScrapedLoop) -> None:
    for _ in range(10):
        loop.cycle_after(2.0)
    assert len(loop.history.open_experiments("t")) == 1
    loop.prometheus.stop()
    for _ in range(3):
        loop.cycle_after(30.0)
    assert actions(loop, 3) == ["CONTINUE"] * 3
    assert firing(loop) == [("ScrapeFailed", True)]
