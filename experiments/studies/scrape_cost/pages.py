"""Metrics pages of the size that a vLLM server gives, written by prometheus-client itself."""

from __future__ import annotations

import numpy as np
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

SHORT_S = (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20,
           40, 80)  # fmt: skip
FIRST_S = (0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10,
           20, 40, 80, 160, 640, 2560)  # fmt: skip
WHOLE_S = (0.3, 0.5, 0.8, 1, 1.5, 2, 2.5, 5, 10, 15, 20, 30, 40, 50, 60, 120, 240, 480, 960,
           1920, 7680)  # fmt: skip
TOKENS = tuple(float(step * 10**power) for power in range(5) for step in (1, 2, 5))
HISTOGRAMS = {
    "time_to_first_token_seconds": FIRST_S,
    "inter_token_latency_seconds": SHORT_S,
    "request_time_per_output_token_seconds": SHORT_S,
    "e2e_request_latency_seconds": WHOLE_S,
    "request_queue_time_seconds": WHOLE_S,
    "request_inference_time_seconds": WHOLE_S,
    "request_prefill_time_seconds": WHOLE_S,
    "request_decode_time_seconds": WHOLE_S,
    "request_prompt_tokens": TOKENS,
    "request_generation_tokens": TOKENS,
    "request_max_num_generation_tokens": TOKENS,
    "request_params_n": (1.0, 2.0, 5.0, 10.0, 20.0),
    "request_params_max_tokens": TOKENS,
    "iteration_tokens_total": TOKENS,
}
GAUGES = ("num_requests_running", "num_requests_waiting", "kv_cache_usage_perc")
COUNTERS = (
    "num_preemptions", "prompt_tokens", "generation_tokens", "prefix_cache_queries",
    "prefix_cache_hits",
)  # fmt: skip
LABELS = {"model_name": "meta-llama/Llama-3.1-8B-Instruct", "engine": "0"}


def page(rng: np.random.Generator, requests: int = 200) -> str:
    """The text of one server's page after so many requests."""
    registry = CollectorRegistry()
    names = tuple(LABELS)
    for name in GAUGES:
        Gauge(f"vllm:{name}", name, names, registry=registry).labels(**LABELS).set(rng.random())
    for name in COUNTERS:
        counter = Counter(f"vllm:{name}", name, names, registry=registry)
        counter.labels(**LABELS).inc(int(rng.integers(10**6)))
    ended = Counter("vllm:request_success", "ended", (*names, "finished_reason"), registry=registry)
    for reason in ("stop", "length", "abort"):
        ended.labels(**LABELS, finished_reason=reason).inc(int(rng.integers(requests)))
    for name, buckets in HISTOGRAMS.items():
        told = Histogram(f"vllm:{name}", name, names, buckets=buckets, registry=registry)
        for value in rng.lognormal(np.log(buckets[len(buckets) // 2]), 1.0, requests):
            told.labels(**LABELS).observe(float(value))
    return generate_latest(registry).decode()


def series(text: str) -> int:
    """Lines that are a sample."""
    return sum(1 for line in text.splitlines() if line and not line.startswith("#"))
