"""The names that servers give their metrics, and the one name that we give each. Names alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

Names = Mapping[str, tuple[str, ...]]  # canonical name -> the server's names, the newest first


@dataclass(frozen=True)
class Family:
    """One server's names, without its prefix. Counters' names are as on the wire (`_total`).

    `outcome_counter` is a counter with a label that says how requests ended. `optional`: canonical
    names that only some set-ups of this server have, so that they are not missed.
    """

    name: str
    prefix: str
    counters: Names
    gauges: Names
    histograms: Names
    outcome_counter: tuple[str, str] | None = None  # name, label
    optional: frozenset[str] = frozenset()

    def on_the_wire(self) -> Iterator[tuple[str, tuple[str, ...]]]:
        """Each canonical name with the samples' full names that tell it, the newest first."""
        for canonical, names in (*self.counters.items(), *self.gauges.items()):
            yield canonical, tuple(self.prefix + name for name in names)
        for canonical, names in self.histograms.items():
            yield canonical, tuple(f"{self.prefix}{name}_bucket" for name in names)


_SHARED_HISTOGRAMS: Names = {
    "ttft_s": ("time_to_first_token_seconds",),
    "itl_s": ("inter_token_latency_seconds", "time_per_output_token_seconds"),
    "tpot_s": ("request_time_per_output_token_seconds",),
    "e2el_s": ("e2e_request_latency_seconds",),
}

# The proxy times every request itself; what only the engine knows is on its page under the
# server's own names.
PROXY = Family(
    name="proxy",
    prefix="proxy:",
    counters={
        "prompt_tokens": ("prompt_tokens_total",),
        "generation_tokens": ("generation_tokens_total",),
    },
    gauges={
        "running": ("num_requests_running",),
        "waiting": ("num_requests_waiting",),
        "generation": ("settings_generation",),
    },
    histograms={
        **_SHARED_HISTOGRAMS,
        "queue_s": ("request_queue_time_seconds",),
        "gap_max_s": ("request_max_gap_seconds",),
        "request_prompt_tokens": ("request_prompt_tokens",),
        "request_output_tokens": ("request_generation_tokens",),
    },
    outcome_counter=("requests_total", "outcome"),
)

WORKER = Family(
    name="worker",
    prefix="worker:",
    counters={
        "prompt_tokens": ("prompt_tokens_total",),
        "generation_tokens": ("generation_tokens_total",),
        "preemptions": ("num_preemptions_total",),
        "step_decode_seqs": ("step_decode_seqs_total",),
        "step_prefill_tokens": ("step_prefill_tokens_total",),
        "prefix_looked_up": ("prefix_cache_queries_total",),
        "prefix_found": ("prefix_cache_hits_total",),
    },
    gauges={
        "running": ("num_requests_running",),
        "waiting": ("num_requests_waiting",),
        "kv_usage": ("kv_cache_usage_perc",),
        "generation": ("settings_generation",),
    },
    histograms={
        **_SHARED_HISTOGRAMS,
        "queue_s": ("request_queue_time_seconds",),
        "gap_max_s": ("request_max_gap_seconds",),
        "step_s": ("step_time_seconds",),
        "request_prompt_tokens": ("request_prompt_tokens",),
        "request_output_tokens": ("request_generation_tokens",),
        "step_tokens": ("iteration_tokens_total",),
    },
    outcome_counter=("requests_total", "outcome"),
)

VLLM = Family(
    name="vllm",
    prefix="vllm:",
    counters={
        "prompt_tokens": ("prompt_tokens_total",),
        "generation_tokens": ("generation_tokens_total",),
        "preemptions": ("num_preemptions_total",),
        "requests_rejected": ("admission_rejections_total",),
        "prefix_looked_up": ("prefix_cache_queries_total", "gpu_prefix_cache_queries_total"),
        "prefix_found": ("prefix_cache_hits_total", "gpu_prefix_cache_hits_total"),
        "spec_drafts": ("spec_decode_num_drafts_total",),
        "spec_accepted": ("spec_decode_num_accepted_tokens_total",),
    },
    gauges={
        "running": ("num_requests_running",),
        "waiting": ("num_requests_waiting",),
        "kv_usage": ("kv_cache_usage_perc", "gpu_cache_usage_perc"),
    },
    histograms={
        **_SHARED_HISTOGRAMS,
        "queue_s": ("request_queue_time_seconds", "time_in_queue_requests"),
        "request_prompt_tokens": ("request_prompt_tokens",),
        "request_output_tokens": ("request_generation_tokens",),
        "step_tokens": ("iteration_tokens_total",),
    },
    outcome_counter=("request_success_total", "finished_reason"),
    optional=frozenset({"prefix_looked_up", "prefix_found", "spec_drafts", "spec_accepted"}),
)

SGLANG = Family(
    name="sglang",
    prefix="sglang:",
    counters={
        "requests": ("num_requests_total",),
        "requests_abort": ("num_aborted_requests_total",),
        "prompt_tokens": ("prompt_tokens_total",),
        # SGLang adds a request's tokens when it ends, not as they come.
        "generation_tokens": ("generation_tokens_total",),
        "preemptions": ("num_retracted_requests_total",),
        "prefix_looked_up": ("prompt_tokens_total",),
        "prefix_found": ("cached_tokens_total",),
    },
    gauges={
        "running": ("num_running_reqs",),
        "waiting": ("num_queue_reqs",),
        "kv_usage": ("token_usage",),
    },
    histograms={
        **_SHARED_HISTOGRAMS,
        "queue_s": ("queue_time_seconds",),
        "request_prompt_tokens": ("prompt_tokens_histogram",),
        "request_output_tokens": ("generation_tokens_histogram",),
    },
    optional=frozenset({"prefix_looked_up", "prefix_found"}),
)

FAMILIES = (PROXY, WORKER, VLLM, SGLANG)


def canonical_names() -> frozenset[str]:
    """Every name that some server's page may get, those per kind of step and outcome apart."""
    told = {canonical for family in FAMILIES for canonical, _ in family.on_the_wire()}
    return frozenset(told | {"requests", "tokens_per_event"})
