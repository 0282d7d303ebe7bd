"""Hardware exporters' pages on a real socket."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from autotuner.domain.errors import TargetUnavailableError
from autotuner.domain.ports import MetricsSource
from autotuner.metrics.exporter import ExporterSource
from autotuner.metrics.merged import MergedSource

pytestmark = pytest.mark.process

PAGES = Path(__file__).parents[2] / "unit" / "metrics" / "pages"


@contextlib.contextmanager
def exporters() -> Iterator[str]:
    """Serves each page at its name."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            page = PAGES / f"{self.path.split('/')[1]}.prom"
            content = page.read_bytes() if page.exists() else b""
            self.send_response(200 if page.exists() else 404)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_gpus_of_two_hosts_are_one_source_of_gauges() -> None:
    with exporters() as url:
        hosts = [ExporterSource("dcgm", f"{url}/{page}") for page in ("dcgm", "dcgm_mig")]
        port: MetricsSource = MergedSource(hosts)
        seen = port.snapshot()
        for host in hosts:
            host.close()
    assert seen.counters == {}
    assert seen.gauges == {
        "power_w": pytest.approx(2 * 799.75),
        "temperature_c": 67.0,
        "gpu_memory_usage": pytest.approx(0.95),
        "gpu_utilisation": pytest.approx((0.9 + 0.8) / 2),
    }


@pytest.mark.parametrize(
    ("gpus", "power_w"), [(("0",), 310.5), (("GPU-0001",), 489.25), (("0", "1"), 799.75)]
)
def test_only_the_gpus_that_serve_the_target_count(gpus: tuple[str, ...], power_w: float) -> None:
    with exporters() as url:
        source = ExporterSource("dcgm", f"{url}/dcgm", gpus=gpus)
        assert source.snapshot().gauges["power_w"] == power_w
        other = ExporterSource("dcgm", f"{url}/dcgm", gpus=("7",))
        with pytest.raises(TargetUnavailableError, match="dcgm exporter, of GPUs 7"):
            other.snapshot()
        source.close()
        other.close()


def test_a_host_in_canonical_gauges_at_the_time_it_was_read() -> None:
    with exporters() as url:
        host = ExporterSource("node", f"{url}/node/metrics", clock=lambda: 7.0)
        seen = host.snapshot()
        host.close()
    assert seen.at == 7.0
    assert seen.gauges["host_memory_usage"] == pytest.approx(0.75)


@pytest.mark.parametrize(
    ("page", "said"), [("nothing", "it answered 404"), ("node", "no metrics of the dcgm exporter")]
)
def test_no_exporters_page_is_no_snapshot(page: str, said: str) -> None:
    with exporters() as url:
        source = ExporterSource("dcgm", f"{url}/{page}")
        with pytest.raises(TargetUnavailableError, match=said):
            source.snapshot()
        source.close()
