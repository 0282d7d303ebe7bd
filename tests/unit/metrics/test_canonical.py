from __future__ import annotations

import math

import pytest

from autotuner.metrics.canonical import recognise
from autotuner.metrics.samples import parse_page

WORKER = """
# TYPE worker:requests counter
worker:requests_total{model_name="m",outcome="stop"} 3
worker:requests_total{model_name="m",outcome="length"} 4
worker:requests_total{model_name="m",outcome="rejected"} 2
# TYPE worker:prompt_tokens counter
worker:prompt_tokens_total{model_name="m"} 700
# TYPE worker:num_requests_running gauge
worker:num_requests_running{model_name="m"} 5
worker:settings_generation{model_name="m"} 6
worker:kv_cache_usage_perc{model_name="m"} 0.25
worker:setting{model_name="m",knob="max_num_seqs"} 32
# TYPE worker:step_time_seconds histogram
worker:step_time_seconds_bucket{model_name="m",kind="decode",le="0.1"} 10
worker:step_time_seconds_bucket{model_name="m",kind="decode",le="+Inf"} 12
worker:step_time_seconds_count{model_name="m",kind="decode"} 12
worker:step_time_seconds_sum{model_name="m",kind="decode"} 1.5
worker:step_time_seconds_bucket{model_name="m",kind="mixed",le="0.1"} 1
worker:step_time_seconds_bucket{model_name="m",kind="mixed",le="+Inf"} 3
worker:step_time_seconds_count{model_name="m",kind="mixed"} 3
worker:step_time_seconds_sum{model_name="m",kind="mixed"} 0.5
process_start_time_seconds 1000.5
"""

VLLM = """
# TYPE vllm:request_success counter
vllm:request_success_total{engine="0",finished_reason="stop",model_name="m"} 5.0
vllm:request_success_total{engine="0",finished_reason="abort",model_name="m"} 1.0
vllm:request_success_total{engine="1",finished_reason="stop",model_name="m"} 7.0
# TYPE vllm:admission_rejections counter
vllm:admission_rejections_total{model_name="m",reason="queue"} 4.0
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="m"} 2.0
vllm:num_requests_running{engine="1",model_name="m"} 3.0
vllm:gpu_cache_usage_perc{engine="0",model_name="m"} 0.4
vllm:gpu_cache_usage_perc{engine="1",model_name="m"} 0.7
# TYPE vllm:time_per_output_token_seconds histogram
vllm:time_per_output_token_seconds_bucket{engine="0",le="0.01",model_name="m"} 1.0
vllm:time_per_output_token_seconds_bucket{engine="0",le="+Inf",model_name="m"} 4.0
vllm:time_per_output_token_seconds_sum{engine="0",model_name="m"} 0.2
vllm:time_per_output_token_seconds_bucket{engine="1",le="0.01",model_name="m"} 2.0
vllm:time_per_output_token_seconds_bucket{engine="1",le="+Inf",model_name="m"} 2.0
vllm:time_per_output_token_seconds_sum{engine="1",model_name="m"} 0.01
# TYPE vllm:iteration_tokens_total histogram
vllm:iteration_tokens_total_bucket{engine="0",le="8.0",model_name="m"} 9.0
vllm:iteration_tokens_total_bucket{engine="0",le="+Inf",model_name="m"} 9.0
vllm:iteration_tokens_total_sum{engine="0",model_name="m"} 30.0
"""

SGLANG = """
sglang:num_requests_total{model_name="m"} 9
sglang:num_running_reqs{model_name="m",tp_rank="0",pp_rank="0",priority=""} 6
sglang:num_running_reqs{model_name="m",tp_rank="1",pp_rank="0",priority=""} 6
sglang:num_running_reqs{model_name="m",tp_rank="0",pp_rank="0",priority="1"} 4
sglang:num_queue_reqs{model_name="m",tp_rank="0",pp_rank="0",dp_rank="0"} 1
sglang:num_queue_reqs{model_name="m",tp_rank="2",pp_rank="0",dp_rank="1"} 2
sglang:token_usage{model_name="m",tp_rank="0",pp_rank="0"} 0.5
"""


def test_the_worker_in_canonical_names() -> None:
    found = recognise(parse_page(WORKER))
    assert found.family == "worker"
    assert found.counters == {
        "requests": 9,
        "requests_stop": 3,
        "requests_length": 4,
        "requests_rejected": 2,
        "prompt_tokens": 700,
    }
    assert found.gauges == {
        "running": 5,
        "generation": 6,
        "kv_usage": 0.25,
        "setting_max_num_seqs": 32,
        "started_at": 1000.5,
    }


def test_steps_add_up_and_are_kept_by_kind() -> None:
    steps = recognise(parse_page(WORKER)).histograms
    assert set(steps) == {"step_s", "step_decode_s", "step_mixed_s"}
    assert steps["step_s"].bounds == (0.1, math.inf)
    assert steps["step_s"].counts == pytest.approx((11, 15))
    assert steps["step_s"].total == pytest.approx(2.0)
    assert steps["step_decode_s"].counts == pytest.approx((10, 12))


def test_vllm_engines_add_up_and_the_fullest_cache_speaks() -> None:
    found = recognise(parse_page(VLLM))
    assert found.family == "vllm"
    assert found.counters["requests_stop"] == 12
    assert found.gauges == {"running": 5, "kv_usage": 0.7}


def test_who_is_turned_away_counts_as_a_request() -> None:
    assert recognise(parse_page(VLLM)).counters["requests"] == 13 + 4


def test_old_names_of_vllm_are_taken() -> None:
    histograms = recognise(parse_page(VLLM)).histograms
    assert histograms["itl_s"].counts == pytest.approx((3, 6))
    assert histograms["step_tokens"].counts == pytest.approx((9, 9))


def test_a_metric_that_is_not_there_is_absent() -> None:
    found = recognise(parse_page(VLLM))
    assert "waiting" not in found.gauges
    assert "ttft_s" not in found.histograms
    assert "preemptions" not in found.counters


def test_the_new_name_wins_over_the_old_one() -> None:
    page = VLLM + 'vllm:kv_cache_usage_perc{engine="0",model_name="m"} 0.1\n'
    assert recognise(parse_page(page)).gauges["kv_usage"] == 0.1


def test_ranks_and_priorities_of_sglang_are_not_counted_twice() -> None:
    found = recognise(parse_page(SGLANG))
    assert found.family == "sglang"
    assert found.counters == {"requests": 9}
    assert found.gauges == {"running": 6, "waiting": 3, "kv_usage": 0.5}


@pytest.mark.parametrize("text", ["", "node_load1 0.5\n", 'vllm:unknown{a="b"} 3\n'])
def test_a_page_of_something_else_is_not_recognised(text: str) -> None:
    assert recognise(parse_page(text)).family is None


def test_series_with_other_buckets_are_refused() -> None:
    page = (
        'worker:time_to_first_token_seconds_bucket{a="1",le="1"} 1\n'
        'worker:time_to_first_token_seconds_bucket{a="1",le="+Inf"} 1\n'
        'worker:time_to_first_token_seconds_bucket{a="2",le="2"} 1\n'
        'worker:time_to_first_token_seconds_bucket{a="2",le="+Inf"} 1\n'
    )
    with pytest.raises(ValueError, match="worker:time_to_first_token_seconds"):
        recognise(parse_page(page))
