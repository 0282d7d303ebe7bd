"""The direct source against pages on a real socket, and against the real worker's page."""

from __future__ import annotations

import contextlib
import json
import math
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from autotuner.domain.errors import TargetUnavailableError
from autotuner.domain.ports import MetricsSource
from autotuner.metrics.quantiles import share_below
from autotuner.metrics.scrape import PrometheusTextSource
from autotuner.metrics.window import between
from tests.contract.metrics.serving import Handler, serving

pytestmark = pytest.mark.process

FAKE_WORKER = Path(__file__).parents[2] / "integration" / "worker_front" / "fake_engine.py"
PAGE = b'# TYPE vllm:num_requests_running gauge\nvllm:num_requests_running{engine="0"} 3\n'


@contextlib.contextmanager
def page(content: bytes, status: int = 200, delay_s: float = 0.0) -> Iterator[str]:
    class Metrics(Handler):
        def do_GET(self) -> None:
            time.sleep(delay_s)
            self.answer(status if self.path == "/metrics" else 404, content)

    with serving(Metrics) as url:
        yield url


@contextlib.contextmanager
def source(url: str, timeout_s: float = 5.0, at: float = 77.0) -> Iterator[PrometheusTextSource]:
    made = PrometheusTextSource(url, timeout_s, clock=lambda: at)
    try:
        yield made
    finally:
        made.close()


@pytest.mark.parametrize("path", ["", "/", "/metrics"])
def test_a_snapshot_is_a_page_in_our_names_with_its_time(path: str) -> None:
    with page(PAGE) as url, source(url + path) as made:
        port: MetricsSource = made
        snapshot = port.snapshot()
        assert snapshot.at == 77.0
        assert snapshot.gauges == {"running": 3}
        assert (snapshot.counters, snapshot.histograms) == ({}, {})
        assert made.family == "vllm"


@pytest.mark.parametrize(
    ("content", "status", "said"),
    [
        (b"", 503, "it answered 503"),
        (b"<html>hello</html>", 200, "not a Prometheus metrics page"),
        (b"node_load1 0.3\n", 200, "no metrics of the worker, the proxy, vLLM or SGLang"),
        (b"", 200, "--enable-metrics"),
        (b'vllm:time_to_first_token_seconds_bucket{le="1"} 2\n', 200, "is missing"),
    ],
)
def test_no_page_that_can_be_used_is_no_snapshot(content: bytes, status: int, said: str) -> None:
    with (
        page(content, status) as url,
        source(url) as made,
        pytest.raises(TargetUnavailableError, match=said),
    ):
        made.snapshot()


def test_a_page_that_does_not_come_is_no_snapshot() -> None:
    with (
        page(PAGE, delay_s=1.0) as url,
        source(url, timeout_s=0.1) as made,
        pytest.raises(TargetUnavailableError, match="no metrics from"),
    ):
        made.snapshot()


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[str]:
    """The worker's real front, with an engine behind it that repeats its prompt."""
    words = [str(tmp_path / "tiny"), "--step-s", "0.001"]
    with subprocess.Popen(
        [sys.executable, str(FAKE_WORKER), *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as child:
        assert child.stdout is not None
        told = json.loads(child.stdout.readline())
        url = f"http://{told['host']}:{told['port']}"
        while not requests.get(f"{url}/health", timeout=10).ok:
            time.sleep(0.02)
        yield url
        child.terminate()


def test_the_workers_page_says_what_it_served(worker: str) -> None:
    first, second = PrometheusTextSource(worker), PrometheusTextSource(worker)
    before = first.snapshot()
    for output_tokens in (1, 4):
        body = {"prompt": "river", "max_tokens": output_tokens, "ignore_eos": True, "model": "tiny"}
        assert requests.post(f"{worker}/v1/completions", json=body, timeout=30).ok
    window = between(before, second.snapshot())
    first.close()
    second.close()
    assert second.family == "worker"
    assert window.resets == ()
    assert window.valid
    assert window.requests == 2
    served = {name: rate * window.length_s for name, rate in window.rates.items()}
    assert served["generation_tokens"] == pytest.approx(5)
    assert served["prompt_tokens"] == pytest.approx(10)
    assert served["requests_length"] == pytest.approx(2)
    assert {"running", "waiting", "kv_usage", "generation"} <= set(window.gauges)
    assert window.gauges["setting_max_num_seqs"] == 32
    counts = {name: seen.count for name, seen in window.histograms.items()}
    assert (counts["ttft_s"], counts["e2el_s"], counts["itl_s"], counts["tpot_s"]) == (2, 2, 3, 1)
    assert (counts["gap_max_s"], counts["queue_s"]) == (1, 2)
    assert counts["step_s"] == sum(
        counts.get(f"step_{kind}_s", 0) for kind in ("decode", "prefill")
    )
    assert math.isfinite(window.mean("step_s"))
    assert share_below(window.histograms["ttft_s"], 40.0).low == 1.0
