"""The fake server's `/metrics`: the names, labels and buckets of the real ones."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field

_VLLM_FIRST = (0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0)
_VLLM_GAP = (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5, 5.0)
_VLLM_WHOLE = (0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0)
_SGLANG_FIRST = (0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 2.0, 4.0, 6.0, 8.0, 10.0, 20.0)
_SGLANG_GAP = (0.002, 0.004, 0.006, 0.008, 0.01, 0.015, 0.02, 0.025, 0.03, 0.05, 0.1, 0.5, 1.0)
_TOKENS = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0, 2000.0)


@dataclass
class Histogram:
    bounds: Sequence[float]
    counts: list[int] = field(default_factory=list)
    total: float = 0.0

    def __post_init__(self) -> None:
        self.counts = [0] * (len(self.bounds) + 1)

    def add(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def lines(self, name: str, labels: str) -> list[str]:
        told, seen = [f"# TYPE {name} histogram"], 0
        for bound, count in zip([*map(str, self.bounds), "+Inf"], self.counts, strict=True):
            seen += count
            told.append(f'{name}_bucket{{{labels},le="{bound}"}} {seen}')
        return [*told, f"{name}_sum{{{labels}}} {self.total}", f"{name}_count{{{labels}}} {seen}"]


class Book:
    """What the server has counted since its start."""

    def __init__(self, kind: str, model: str) -> None:
        vllm = kind == "vllm"
        self._kind = kind
        self._labels = f'model_name="{model}",engine="0"' if vllm else f'model_name="{model}"'
        first, gap = (_VLLM_FIRST, _VLLM_GAP) if vllm else (_SGLANG_FIRST, _SGLANG_GAP)
        queue = "request_queue_time_seconds" if vllm else "queue_time_seconds"
        self.first, self.gap, self.whole = Histogram(first), Histogram(gap), Histogram(_VLLM_WHOLE)
        self.queue, self.prompt, self.output = (
            Histogram(first),
            Histogram(_TOKENS),
            Histogram(_TOKENS),
        )
        self._histograms = {
            "time_to_first_token_seconds": self.first,
            "inter_token_latency_seconds": self.gap,
            "e2e_request_latency_seconds": self.whole,
            queue: self.queue,
            "request_prompt_tokens" if vllm else "prompt_tokens_histogram": self.prompt,
            "request_generation_tokens" if vllm else "generation_tokens_histogram": self.output,
        }
        self.prompt_tokens = self.output_tokens = self.finished = 0

    def text(self, running: int, waiting: int, kv_usage: float) -> str:
        vllm = self._kind == "vllm"
        names = _VLLM_NAMES if vllm else _SGLANG_NAMES
        values = (
            running,
            waiting,
            kv_usage,
            0,
            self.prompt_tokens,
            self.output_tokens,
            self.finished,
        )
        lines: list[str] = []
        for (name, kind, more), value in zip(names, values, strict=True):
            lines += [f"# TYPE {self._kind}:{name} {kind}"]
            lines += [f"{self._kind}:{name}{{{self._labels}{more}}} {value}"]
        for name, histogram in self._histograms.items():
            lines += histogram.lines(f"{self._kind}:{name}", self._labels)
        return "\n".join(lines) + "\n"


_VLLM_NAMES = (
    ("num_requests_running", "gauge", ""),
    ("num_requests_waiting", "gauge", ""),
    ("kv_cache_usage_perc", "gauge", ""),
    ("num_preemptions_total", "counter", ""),
    ("prompt_tokens_total", "counter", ""),
    ("generation_tokens_total", "counter", ""),
    ("request_success_total", "counter", ',finished_reason="length"'),
)
_SGLANG_NAMES = (
    ("num_running_reqs", "gauge", ""),
    ("num_queue_reqs", "gauge", ""),
    ("token_usage", "gauge", ""),
    ("num_retracted_requests_total", "counter", ""),
    ("prompt_tokens_total", "counter", ""),
    ("generation_tokens_total", "counter", ""),
    ("num_requests_total", "counter", ""),
)
