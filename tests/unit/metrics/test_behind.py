"""A proxy's page with the server behind it on it: whose figure counts, and what a restart does."""

from __future__ import annotations

import pytest

from autotuner.domain.telemetry import Snapshot
from autotuner.metrics.behind import Behind
from autotuner.metrics.canonical import recognise
from autotuner.metrics.samples import parse_page
from autotuner.metrics.window import between

OWN = """
# TYPE proxy:requests counter
proxy:requests_total{outcome="stop"} 40
proxy:requests_total{outcome="rejected"} 10
proxy:prompt_tokens_total 9000
proxy:generation_tokens_total 5200
# TYPE proxy:num_requests_running gauge
proxy:num_requests_running 4
proxy:num_requests_waiting 7
proxy:settings_generation 3
proxy:setting{knob="max_num_seqs"} 64
# TYPE proxy:time_to_first_token_seconds histogram
proxy:time_to_first_token_seconds_bucket{le="0.05"} 30
proxy:time_to_first_token_seconds_bucket{le="+Inf"} 40
proxy:time_to_first_token_seconds_count 40
proxy:time_to_first_token_seconds_sum 2.5
# TYPE proxy:inter_token_latency_seconds histogram
proxy:inter_token_latency_seconds_bucket{le="+Inf"} 5160
proxy:inter_token_latency_seconds_sum 60
# TYPE proxy:engine_faults counter
proxy:engine_faults_total{fault="run-memory"} 2
proxy:engine_faults_total{fault="start-kv"} 1
proxy:engine_faults_total{fault="refused"} 5
process_start_time_seconds 10.0
"""
SERVER = """
vllm:request_success_total{engine="0",finished_reason="stop",model_name="m"} 41
vllm:num_requests_running{engine="0",model_name="m"} 3
vllm:num_requests_waiting{engine="0",model_name="m"} 1
vllm:kv_cache_usage_perc{engine="0",model_name="m"} 0.42
vllm:num_preemptions_total{engine="0",model_name="m"} 2
vllm:prefix_cache_queries_total{engine="0",model_name="m"} 900
vllm:prefix_cache_hits_total{engine="0",model_name="m"} 300
vllm:generation_tokens_total{engine="0",model_name="m"} 7
vllm:time_to_first_token_seconds_bucket{engine="0",le="0.1",model_name="m"} 41
vllm:time_to_first_token_seconds_bucket{engine="0",le="+Inf",model_name="m"} 41
vllm:time_to_first_token_seconds_sum{engine="0",model_name="m"} 3
vllm:iteration_tokens_total_bucket{engine="0",le="8.0",model_name="m"} 9
vllm:iteration_tokens_total_bucket{engine="0",le="+Inf",model_name="m"} 9
vllm:iteration_tokens_total_sum{engine="0",model_name="m"} 30
process_start_time_seconds 20.0
"""


def read(behind: Behind, at: float, server: str = SERVER, own: str = OWN) -> Snapshot:
    return behind.snapshot(recognise(parse_page(own + server)), at)


def test_requests_are_the_proxys_and_the_engine_is_the_servers() -> None:
    seen = read(Behind(), 5.0)
    assert seen.counters["requests"] == 50  # with those that never reached the server
    assert seen.counters["requests_rejected"] == 10
    assert seen.counters["generation_tokens"] == 5200
    assert (seen.counters["preemptions"], seen.counters["prefix_found"]) == (2, 300)
    assert (seen.histograms["ttft_s"].count, seen.histograms["ttft_s"].total) == (40, 2.5)
    assert seen.histograms["step_tokens"].count == 9
    told = {name: seen.gauges[name] for name in ("running", "waiting", "kv_usage", "generation")}
    assert told == {"running": 3, "waiting": 8, "kv_usage": 0.42, "generation": 3}
    assert seen.gauges["setting_max_num_seqs"] == 64
    assert seen.gauges["out_of_memory_total"] == 3
    assert "started_at" not in seen.gauges  # whose it is, the page does not say


def test_sglang_behind_the_proxy() -> None:
    server = "sglang:num_running_reqs 2\nsglang:num_queue_reqs 0\nsglang:token_usage 0.1\n"
    seen = read(Behind(), 5.0, server)
    assert (seen.gauges["running"], seen.gauges["waiting"], seen.gauges["kv_usage"]) == (2, 7, 0.1)


def test_a_proxy_alone_tells_its_own() -> None:
    seen = read(Behind(), 5.0, server="")
    assert (seen.gauges["running"], seen.gauges["waiting"]) == (4, 7)
    assert "preemptions" not in seen.counters


def test_a_restart_of_the_server_reads_as_none() -> None:
    behind = Behind()
    before = read(behind, 5.0)
    away = read(behind, 10.0, server="")  # its page is gone while it starts
    anew = SERVER.replace('num_preemptions_total{engine="0",model_name="m"} 2',
                          'num_preemptions_total{engine="0",model_name="m"} 1')  # fmt: skip
    after = read(behind, 15.0, anew.replace('"} 900', '"} 10'))
    assert "kv_usage" not in away.gauges
    assert between(before, away).resets == between(away, after).resets == ()
    window = between(before, after)
    assert window.requests == 0
    assert window.rates["preemptions"] == pytest.approx(1 / 10)  # what the new one counted
    assert window.rates["prefix_looked_up"] == pytest.approx(10 / 10)


def test_another_version_with_other_buckets_starts_its_own_counts_anew() -> None:
    behind = Behind()
    before = read(behind, 5.0)
    other = SERVER.replace('le="8.0"', 'le="16.0"').replace(
        'model_name="m"} 2', 'model_name="m"} 0'
    )
    after = read(behind, 10.0, other)
    assert after.histograms["step_tokens"].bounds[0] == 16
    assert after.counters["requests"] == before.counters["requests"]


def test_a_restart_of_the_proxy_is_one() -> None:
    behind = Behind()
    before = read(behind, 5.0)
    fresh = OWN.replace('outcome="stop"} 40', 'outcome="stop"} 1')
    assert "requests" in between(before, read(behind, 10.0, own=fresh)).resets
