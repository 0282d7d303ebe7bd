"""Hardware exporters' pages on a real socket."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from autotuner.domain.energy import Meter
from autotuner.domain.errors import TargetUnavailableError
from autotuner.domain.ports import MetricsSource
from autotuner.metrics.exporter import ExporterSource
from autotuner.metrics.merged import MergedSource
from tests.contract.metrics.serving import Handler, serving

pytestmark = pytest.mark.process

PAGES = Path(__file__).parents[2] / "unit" / "metrics" / "pages"


@contextlib.contextmanager
def exporters() -> Iterator[str]:
    """Serves each page at its name."""

    class Pages(Handler):
        def do_GET(self) -> None:
            page = PAGES / f"{self.path.split('/')[1]}.prom"
            known = page.exists()
            self.answer(200 if known else 404, page.read_bytes() if known else b"")

    with serving(Pages) as url:
        yield url


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
    meter = seen.energy["dcgm"]
    assert meter is not None
    assert sum(meter.power_w.values()) == pytest.approx(2 * 799.75)
    assert meter.counters_j == {}  # one of the hosts does not export them


def test_the_energy_counters_of_the_gpus_that_serve_the_target() -> None:
    with exporters() as url:
        source = ExporterSource("dcgm", f"{url}/dcgm", gpus=("1",))
        meter = source.snapshot().energy["dcgm"]
        source.close()
    assert meter == Meter({"GPU-0001": 91123456.789}, power_w={"GPU-0001": 489.25})


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
