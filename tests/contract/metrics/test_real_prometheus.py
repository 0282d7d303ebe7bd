"""The sources through a real Prometheus server that scrapes pages of ours."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TypeVar

import pytest

from autotuner.domain.errors import TargetError, TargetUnavailableError
from autotuner.domain.telemetry import Snapshot
from autotuner.metrics.prometheus import (
    PrometheusHardwareSource,
    PrometheusServerSource,
    QuerySource,
)
from autotuner.metrics.promql import PromQL
from autotuner.metrics.window import between

BINARY = shutil.which("prometheus")
pytestmark = [
    pytest.mark.process,
    pytest.mark.skipif(BINARY is None, reason="the program prometheus is not installed"),
]
PAGES = Path(__file__).parents[2] / "unit" / "metrics" / "pages"
JOBS = ("vllm_0_33", "sglang_0_5", "dcgm", "dcgm_mig", "node")
Found = TypeVar("Found")


class Pages(ThreadingHTTPServer):
    """Serves each page at its name, with one more finished request of vLLM at each scrape."""

    scrapes = 0


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        assert isinstance(self.server, Pages)
        self.server.scrapes += 1
        text = (PAGES / f"{self.path.split('/')[1]}.prom").read_text(encoding="utf-8")
        counted = 'vllm:request_success_total{finished_reason="stop",engine="0",model_name="m"} '
        content = text.replace(f"{counted}9.0", f"{counted}{9 + self.server.scrapes}").encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; version=0.0.4")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None: ...


@contextlib.contextmanager
def pages() -> Iterator[int]:
    server = Pages(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PromQL]:
    home = tmp_path_factory.mktemp("prometheus")
    port = free_port()
    with pages() as at:
        jobs = "".join(
            f"- job_name: {job}\n  metrics_path: /{job}/metrics\n"
            f"  static_configs: [{{targets: ['127.0.0.1:{at}']}}]\n"
            for job in JOBS
        )
        timing = "global: {scrape_interval: 1s, scrape_timeout: 1s}\n"
        config = home / "prometheus.yml"
        config.write_text(f"{timing}scrape_configs:\n{jobs}", encoding="utf-8")
        words = [
            str(BINARY),
            f"--config.file={config}",
            f"--storage.tsdb.path={home / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}",
            "--log.level=error",
        ]
        with subprocess.Popen(words) as child:
            server = PromQL(f"http://127.0.0.1:{port}")
            eventually(lambda: ready(server))
            yield server
            server.close()
            child.terminate()


def eventually(attempt: Callable[[], Found | None], within_s: float = 60.0) -> Found:
    end = time.monotonic() + within_s
    while time.monotonic() < end:
        found = attempt()
        if found is not None:
            return found
        time.sleep(0.1)
    raise AssertionError("it did not come to pass")


def ready(server: PromQL) -> bool | None:
    try:
        (up,) = server.instant("count(up == 1) or vector(0)")
    except TargetUnavailableError:
        return None
    return True if up.points[-1][1] == len(JOBS) else None


def test_snapshots_have_the_times_of_their_scrapes(prometheus: PromQL) -> None:
    source = PrometheusServerSource(prometheus, 'job="vllm_0_33"', max_age_s=30)
    first = source.snapshot()

    def later() -> Snapshot | None:
        seen = source.snapshot()
        assert (seen.at == first.at) == (seen.counters == first.counters)
        return seen if seen.at > first.at else None

    window = between(first, eventually(later))
    assert window.resets == ()
    assert window.requests >= 1
    assert source.seen.family == "vllm"
    assert source.seen.missing == ()


def test_other_servers_and_hardware(prometheus: PromQL) -> None:
    sglang = PrometheusServerSource(prometheus, 'job="sglang_0_5"').snapshot()
    assert (sglang.counters["requests"], sglang.gauges["kv_usage"]) == (40.0, 0.42)
    gpus = PrometheusHardwareSource(prometheus, "dcgm", 'job="dcgm_mig"').snapshot()
    assert gpus.gauges["power_w"] == 799.75
    counted = PrometheusHardwareSource(prometheus, "dcgm", 'job="dcgm"').snapshot()
    meter = counted.energy["dcgm"]
    assert meter is not None
    assert meter.counters_j == {"GPU-0000": 88123456.789, "GPU-0001": 91123456.789}
    host = PrometheusHardwareSource(prometheus, "node", 'job="node"').snapshot()
    assert host.gauges["out_of_memory_total"] == 3.0


def test_queries_and_what_is_refused(prometheus: PromQL) -> None:
    asked = QuerySource(prometheus, "running", "sum(vllm:num_requests_running)")
    assert asked.snapshot().gauges == {"running": 3.0}
    now = prometheus.instant("time()")[0].points[0][1]
    series = prometheus.range('up{job="node"}', now - 10, now, 1.0)
    assert {value for _, value in series[0].points} == {1.0}
    with pytest.raises(TargetError, match="parse error"):
        prometheus.instant("sum(")
    with pytest.raises(TargetUnavailableError, match="several servers"):
        PrometheusServerSource(prometheus, 'job=~"vllm.*|sglang.*"').snapshot()
    with pytest.raises(TargetUnavailableError, match="no scrape of the last"):
        PrometheusServerSource(prometheus, 'job="other"').snapshot()
