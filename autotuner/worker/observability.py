"""The worker's Prometheus metrics, named after vLLM's, in a registry of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Literal, get_args

from prometheus_client import CollectorRegistry, generate_latest

from autotuner.fronts.exposures import SERVED, Exposure, Outcome
from autotuner.fronts.served_histograms import ServedHistograms
from autotuner.worker.live_settings import InForce
from autotuner.worker.messages import StepOutput
from autotuner.worker.metric_maker import MetricMaker
from autotuner.worker.settings import CHOICES

TEXT_KNOBS = (*CHOICES, "weights")

StepKind = Literal["decode", "prefill", "mixed"]

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
TOKENS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 20000)


@dataclass(frozen=True)
class Buckets:
    """Upper edges of the latency histograms (s)."""

    ttft_s: tuple[float, ...] = TTFT_S
    gap_s: tuple[float, ...] = GAP_S

    def with_slos(self, ttft_s: float | None, gap_s: float | None) -> Buckets:
        """With an edge exactly on each SLO given, so that attainment can be counted."""
        return Buckets(_with_edge(self.ttft_s, ttft_s), _with_edge(self.gap_s, gap_s))


def _with_edge(edges: Iterable[float], edge: float | None) -> tuple[float, ...]:
    return tuple(sorted({*edges, *(() if edge is None else (edge,))}))


class WorkerMetrics:
    """Counts what the front sees. `running` and `waiting` are asked for at each scrape."""

    def __init__(
        self,
        model_name: str,
        buckets: Buckets,
        running: Callable[[], int],
        waiting: Callable[[], int],
    ) -> None:
        self.registry = CollectorRegistry()
        make = MetricMaker(self.registry, model_name)
        self._ttft = make.histogram(
            "time_to_first_token_seconds", "Arrival to first token", buckets.ttft_s
        )
        self._itl = make.histogram(
            "inter_token_latency_seconds", "Gap between tokens", buckets.gap_s
        )
        self._served = ServedHistograms(
            tpot=make.histogram(
                "request_time_per_output_token_seconds", "Mean gap of a request", buckets.gap_s
            ),
            gap_max=make.histogram(
                "request_max_gap_seconds", "Largest gap of a request", buckets.gap_s
            ),
            e2el=make.histogram("e2e_request_latency_seconds", "Arrival to last token", LATENCY_S),
            queue=make.histogram(
                "request_queue_time_seconds", "Arrival to admission", buckets.ttft_s
            ),
            prompt=make.histogram("request_prompt_tokens", "Prompt tokens of a request", TOKENS),
            generation=make.histogram("request_generation_tokens", "Tokens of an answer", TOKENS),
        )
        self._iteration = make.histogram(
            "iteration_tokens_total", "Tokens computed in a step", TOKENS
        )
        self._step_time = make.labelled_histogram(
            "step_time_seconds", "Duration of an engine step", buckets.gap_s, "kind"
        )
        self._prompt_total = make.counter("prompt_tokens", "Prompt tokens taken up")
        self._generation_total = make.counter("generation_tokens", "Tokens generated")
        self._success = make.labelled_counter(
            "request_success", "Requests served", "finished_reason"
        )
        self._requests = make.labelled_counter("requests", "Requests ended, by outcome", "outcome")
        self._preemptions = make.counter("num_preemptions", "Requests preempted")
        self._step_decode = make.counter("step_decode_seqs", "Sequences decoded, summed over steps")
        self._step_prefill = make.counter("step_prefill_tokens", "Prompt tokens computed in steps")
        self._step_padded = make.counter("step_padded_rows", "Rows that batch_sizes added")
        make.gauge("num_requests_running", "Requests in the batch").set_function(running)
        make.gauge("num_requests_waiting", "Requests not yet in the batch").set_function(waiting)
        self._kv_usage = make.gauge("kv_cache_usage_perc", "Share of the KV cache in use, 0 to 1")
        self._generation_gauge = make.gauge(
            "settings_generation", "Generation of the settings in force"
        )
        self._setting = make.labelled_gauge("setting", "A numeric knob's value in force", "knob")
        self._settings_info = make.labelled_gauge(
            "settings_info", "Other knobs in force", *TEXT_KNOBS
        )
        self._model_name = model_name
        self._start_at_zero()

    def _start_at_zero(self) -> None:
        """Every series exists from the start: a rate needs the zero before the first event."""
        for outcome in get_args(Outcome):
            self._requests.labels(self._model_name, outcome)
        for outcome in SERVED:
            self._success.labels(self._model_name, outcome)
        for kind in get_args(StepKind):
            self._step_time.labels(self._model_name, kind)

    def first_token(self, ttft_s: float, prompt_tokens: int) -> None:
        self._ttft.observe(ttft_s)
        self._prompt_total.inc(prompt_tokens)

    def gap(self, gap_s: float) -> None:
        self._itl.observe(gap_s)

    def step(self, step: StepOutput, kind: StepKind) -> None:
        """Counts a step that computed something."""
        self._step_time.labels(self._model_name, kind).observe(step.step_s)
        self._iteration.observe(step.decode_seqs + step.prefill_tokens)
        self._step_decode.inc(step.decode_seqs)
        self._step_prefill.inc(step.prefill_tokens)
        self._step_padded.inc(step.padded_rows)

    def state(self, kv_usage: float, new_tokens: int, preemptions: int) -> None:
        self._preemptions.inc(preemptions)
        self._kv_usage.set(kv_usage)
        self._generation_total.inc(new_tokens)

    def ended(self, exposure: Exposure) -> None:
        """Every request counts by outcome; only served ones have a latency worth a histogram."""
        self._requests.labels(self._model_name, exposure.outcome).inc()
        if exposure.outcome not in SERVED:
            return
        self._success.labels(self._model_name, exposure.outcome).inc()
        self._served.add(exposure)

    def settings(self, in_force: InForce) -> None:
        self._generation_gauge.set(in_force.generation)
        knobs = asdict(in_force.settings)
        self._settings_info.clear()
        self._settings_info.labels(self._model_name, *(knobs.pop(name) for name in TEXT_KNOBS)).set(
            1
        )
        for knob, value in knobs.items():
            self._setting.labels(self._model_name, knob).set(value)

    def text(self) -> bytes:
        """The page of `GET /metrics`, in Prometheus' text format."""
        return generate_latest(self.registry)
