"""The proxy's Prometheus metrics (prefix `proxy:`), in a registry of their own.

They have no `model_name`: a proxy stands in front of one model, which may not be known yet.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Literal, TypeVar, get_args

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from autotuner.fronts.exposures import SERVED, Exposure, Outcome
from autotuner.fronts.served_histograms import ServedHistograms
from autotuner.proxy.ports import Fault, Value

M = TypeVar("M", Counter, Gauge)
RestartOutcome = Literal["switched", "failed"]

# Fine where SLOs usually lie, so that a quantile or an attainment read from them is sharp there.
TTFT_S = (
    *(0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 1.25, 1.5, 1.75),
    *(2.0, 2.5, 3.0, 4.0, 5.0, 7.5, 10.0, 20.0, 40.0),
)
GAP_S = (
    *(0.005, 0.01, 0.015, 0.02, 0.025, 0.03, 0.04, 0.05, 0.06, 0.07, 0.08, 0.09, 0.1, 0.11, 0.12),
    *(0.13, 0.15, 0.175, 0.2, 0.25, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5, 5.0),
)
LATENCY_S = (0.1, 0.2, 0.3, 0.5, 0.8, 1, 1.5, 2, 2.5, 5, 10, 15, 20, 30, 40, 50, 60, 120, 240, 480)
RESTART_S = (1, 2, 5, 10, 20, 30, 45, 60, 90, 120, 180, 240, 300, 450, 600, 900, 1800)
TOKENS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 20000)


class ProxyMetrics:
    """Counts what passes. `running` and `waiting` are asked for at each scrape."""

    def __init__(self, running: Callable[[], int], waiting: Callable[[], int]) -> None:
        self._registry = CollectorRegistry()
        self._ttft = self.histogram("time_to_first_token_seconds", "Arrival to first token", TTFT_S)
        self._itl = self.histogram(
            "inter_token_latency_seconds", "Gap between events of a stream", GAP_S
        )
        self._served = ServedHistograms(
            tpot=self.histogram(
                "request_time_per_output_token_seconds",
                "Mean gap between tokens of a request",
                GAP_S,
            ),
            gap_max=self.histogram("request_max_gap_seconds", "Largest gap of a request", GAP_S),
            e2el=self.histogram("e2e_request_latency_seconds", "Arrival to last token", LATENCY_S),
            queue=self.histogram("request_queue_time_seconds", "Arrival to admission", TTFT_S),
            prompt=self.histogram("request_prompt_tokens", "Prompt tokens of a request", TOKENS),
            generation=self.histogram("request_generation_tokens", "Tokens of an answer", TOKENS),
        )
        self._prompt_total = self.counter("prompt_tokens", "Prompt tokens of ended requests")
        self._generation_total = self.counter("generation_tokens", "Tokens generated")
        self._guessed = self.counter(
            "prompt_tokens_estimated_requests", "Requests whose prompt tokens are an estimate"
        )
        self._success = self._family(Counter, "request_success", "Served", "finished_reason")
        self._requests = self._family(Counter, "requests", "Ended, by outcome", "outcome")
        self._faults = self._family(Counter, "engine_faults", "Servers that died", "fault")
        self._restarts = self._family(Counter, "engine_restarts", "Changes by restart", "outcome")
        self._restart_s = self.histogram(
            "engine_restart_seconds", "A restart asked for to requests served", RESTART_S
        )
        self._backend_up = self._family(Gauge, "backend_up", "Whether its metrics came", "backend")
        self._settings_generation = self._gauge("settings_generation", "Of those in force")
        self._setting = self._family(Gauge, "setting", "A numeric knob's value in force", "knob")
        self._gauge("num_requests_running", "At the server").set_function(running)
        self._gauge("num_requests_waiting", "Not yet sent to it").set_function(waiting)
        self._start_at_zero()

    # ---- makes; these two are what the feedback log wants
    def histogram(self, name: str, told: str, edges: Iterable[float]) -> Histogram:
        return Histogram(f"proxy:{name}", told, buckets=tuple(edges), registry=self._registry)

    def counter(self, name: str, told: str) -> Counter:
        return Counter(f"proxy:{name}", told, registry=self._registry)

    def _gauge(self, name: str, told: str) -> Gauge:
        return Gauge(f"proxy:{name}", told, registry=self._registry)

    def _family(self, kind: type[M], name: str, told: str, label: str) -> M:
        return kind(f"proxy:{name}", told, (label,), registry=self._registry)

    def _start_at_zero(self) -> None:
        """Every series exists from the start: a rate needs the zero before the first event."""
        for outcome in get_args(Outcome):
            self._requests.labels(outcome)
        for served in SERVED:
            self._success.labels(served)
        for fault in Fault:
            self._faults.labels(fault.value)
        for told in get_args(RestartOutcome):
            self._restarts.labels(told)

    # ---- counts
    def first_token(self, ttft_s: float) -> None:
        self._ttft.observe(ttft_s)

    def event(self) -> None:
        """At least one token; `ended` adds those that the server's count knows besides."""
        self._generation_total.inc()

    def gap(self, gap_s: float) -> None:
        self._itl.observe(gap_s)

    def ended(self, exposure: Exposure, events: int, *, guessed: bool) -> None:
        """Every request counts by outcome; only served ones have a latency worth a histogram."""
        self._requests.labels(exposure.outcome).inc()
        self._generation_total.inc(max(0, exposure.output_tokens - events))
        self._prompt_total.inc(exposure.prompt_tokens)
        if guessed:
            self._guessed.inc()
        if exposure.outcome not in SERVED:
            return
        self._success.labels(exposure.outcome).inc()
        self._served.add(exposure)

    def died(self, fault: Fault) -> None:
        self._faults.labels(fault.value).inc()

    def restarted(self, outcome: RestartOutcome, took_s: float | None) -> None:
        self._restarts.labels(outcome).inc()
        if took_s is not None:
            self._restart_s.observe(took_s)

    def settings(self, generation: int, settings: Mapping[str, Value]) -> None:
        self._settings_generation.set(generation)
        for knob, value in settings.items():
            if not isinstance(value, str):
                self._setting.labels(knob).set(value)

    def backends(self, up: Mapping[str, bool]) -> None:
        self._backend_up.clear()
        for name, is_up in up.items():
            self._backend_up.labels(name).set(is_up)

    def text(self) -> bytes:
        """The proxy's own part of `GET /metrics`, in Prometheus' text format."""
        return generate_latest(self._registry)
