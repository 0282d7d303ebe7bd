"""Whole pages of each server and exporter, as they serve them: all say the same in our names."""

from __future__ import annotations

from pathlib import Path

import pytest

from autotuner.domain.energy import Meter
from autotuner.metrics.canonical import Recognised, recognise
from autotuner.metrics.hardware import CANONICAL, dcgm, dcgm_meter, node
from autotuner.metrics.samples import Page, parse_page

PAGES = Path(__file__).with_name("pages")
SERVERS = ("vllm_0_6", "vllm_0_9", "vllm_0_33", "sglang_0_5")
COUNTERS = {
    "requests": 40.0,
    "prompt_tokens": 9000.0,
    "generation_tokens": 5200.0,
    "preemptions": 2.0,
}
HISTOGRAMS = {  # observations, sum
    "ttft_s": (40, 8.0),
    "itl_s": (5160, 103.2),
    "e2el_s": (40, 90.0),
    "queue_s": (40, 2.0),
    "request_prompt_tokens": (40, 9000.0),
    "request_output_tokens": (40, 5200.0),
}


def read(name: str) -> Page:
    return parse_page((PAGES / f"{name}.prom").read_text(encoding="utf-8"))


def seen(name: str) -> Recognised:
    return recognise(read(name))


@pytest.mark.parametrize("name", SERVERS)
def test_the_same_traffic_reads_the_same_on_every_server(name: str) -> None:
    found = seen(name)
    assert found.family == name.split("_")[0]
    assert {key: found.counters[key] for key in COUNTERS} == COUNTERS
    assert {key: found.gauges[key] for key in ("running", "waiting", "kv_usage")} == {
        "running": 3.0, "waiting": 1.0, "kv_usage": 0.42,
    }  # fmt: skip
    told = {key: (found.histograms[key].count, found.histograms[key].total) for key in HISTOGRAMS}
    assert told == {key: pytest.approx(value) for key, value in HISTOGRAMS.items()}


@pytest.mark.parametrize(
    ("name", "renamed", "missing"),
    [
        (
            "vllm_0_6",
            {
                "kv_usage": "vllm:gpu_cache_usage_perc",
                "itl_s": "vllm:time_per_output_token_seconds",
                "queue_s": "vllm:time_in_queue_requests",
            },
            {"requests_rejected", "tpot_s", "step_tokens"},
        ),
        (
            "vllm_0_9",
            {"itl_s": "vllm:time_per_output_token_seconds"},
            {"requests_rejected", "tpot_s"},
        ),
        ("vllm_0_33", {}, set()),
        ("sglang_0_5", {}, {"requests_abort"}),
    ],
)
def test_old_names_and_gaps_are_told(name: str, renamed: dict[str, str], missing: set[str]) -> None:
    found = seen(name)
    assert found.renamed == renamed
    assert set(found.missing) == missing
    assert not missing & {*found.counters, *found.gauges, *found.histograms}


def test_dcgm_in_canonical_gauges() -> None:
    assert dcgm(read("dcgm")) == {
        "power_w": 799.75,
        "temperature_c": 67.0,
        "gpu_memory_usage": pytest.approx(0.9),
        "gpu_utilisation": pytest.approx(0.9),  # not the engine's activity, which tells 0 here
    }


def test_dcgm_of_a_gpu_cut_into_instances() -> None:
    assert dcgm(read("dcgm_mig")) == {
        "power_w": 799.75,  # repeated per instance, counted once
        "temperature_c": 67.0,
        "gpu_memory_usage": pytest.approx(0.95),  # the fullest is an instance
        "gpu_utilisation": pytest.approx((0.6 + 1.0) / 2),
    }


def test_dcgms_energy_counters_are_joules_by_gpu() -> None:
    meter = dcgm_meter(read("dcgm"))
    assert meter is not None
    # Millijoules on the page; far more of them than any int32 has, and no blank.
    assert meter.counters_j == {"GPU-0000": 88123456.789, "GPU-0001": 91123456.789}
    assert meter.power_w == {"GPU-0000": 310.5, "GPU-0001": 489.25}


def test_where_one_gpu_counts_no_energy_power_is_what_is_left() -> None:
    name = "DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION"
    lines = (
        'DCGM_FI_DEV_POWER_USAGE{gpu="0",UUID="a"} 100\n'
        'DCGM_FI_DEV_POWER_USAGE{gpu="1",UUID="b"} 50\n'
        f'{name}{{gpu="0",UUID="a"}} 9000000\n{name}{{gpu="1",UUID="b"}} 9223372036854775792\n'
    )
    assert dcgm_meter(parse_page(lines)) == Meter(power_w={"a": 100.0, "b": 50.0})
    assert dcgm_meter(parse_page('DCGM_FI_DEV_GPU_TEMP{gpu="0",UUID="a"} 40\n')) is None


def test_the_node_exporter_in_canonical_gauges() -> None:
    assert node(read("node")) == {
        "host_memory_usage": pytest.approx(0.75),
        "host_load_ratio": 0.75,
        "host_temperature_c": 61.0,
        "out_of_memory_total": 3.0,
    }


@pytest.mark.parametrize("blank", ["2147483632", "140737488355328", "9.22e+18", "NaN", "-1"])
def test_a_blank_of_dcgm_is_no_value(blank: str) -> None:
    page = (
        'DCGM_FI_DEV_POWER_USAGE{gpu="0",UUID="a"} 100\n'
        f'DCGM_FI_DEV_POWER_USAGE{{gpu="1",UUID="b"}} {blank}\n'
        'DCGM_FI_DEV_GPU_TEMP{gpu="0",UUID="a"} 40\n'
        f'DCGM_FI_DEV_GPU_TEMP{{gpu="1",UUID="b"}} {blank}\n'
    )
    # Half of the GPUs' power would read as a saving, so that none is told.
    assert dcgm(parse_page(page)) == {"temperature_c": 40.0}


def test_gpus_without_unique_ids_are_told_apart_by_host_and_number() -> None:
    page = "".join(
        f'DCGM_FI_DEV_POWER_USAGE{{gpu="{gpu}",Hostname="{host}"}} 100\n'
        for gpu in (0, 1)
        for host in ("a", "b")
    )
    assert dcgm(parse_page(page)) == {"power_w": 400.0}


def test_the_exporters_gauges_are_the_canonical_ones() -> None:
    assert {*dcgm(read("dcgm")), *node(read("node"))} == CANONICAL


def test_another_exporters_page_tells_nothing() -> None:
    assert dcgm(read("node")) == {}
    assert node(read("dcgm")) == {}
