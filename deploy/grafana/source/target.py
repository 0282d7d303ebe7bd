"""The dashboard of one target: latency, load, engine, settings, host and GPUs."""

from __future__ import annotations

from grafana_foundation_sdk.builders.dashboard import Dashboard, Row

from deploy.grafana.source.board import board_of_a_target
from deploy.grafana.source.panels import SHARE_LOOK, Look, Query, Unit, chart, rows_of

_OF = '{target="$target"}'
_SCRAPE_LABELS = ("job", "instance", "target", "model_name")


def target() -> Dashboard:
    built = board_of_a_target("target", "Target", "One target and the hardware under it.", "now-3h")
    for add in (_latency, _load, _engine, _settings, _pipeline, _hardware):
        add(built)
    return built


def _latency(built: Dashboard) -> None:
    built.with_row(Row("Latency")).with_panel(
        chart("Time to first token", Unit.SECONDS, _quantiles("ttft"), "From arrival.")
    ).with_panel(
        chart("Gap between tokens", Unit.SECONDS, _quantiles("gap"), "Each gap of each stream.")
    ).with_panel(
        chart(
            "Whole request and queue, P99",
            Unit.SECONDS,
            [
                Query(f"target:e2e_seconds:p99_rate5m{_OF}", "whole request"),
                Query(f"target:queue_seconds:p99_rate5m{_OF}", "queue"),
            ],
            "Of requests that were served.",
        )
    ).with_panel(
        chart(
            "SLO attainment",
            Unit.SHARE,
            [Query(f"target:attainment:ratio{_OF}", "attainment")],
            "Share of the recent requests that met all their targets.",
            SHARE_LOOK,
        )
    )


def _quantiles(what: str) -> list[Query]:
    return [
        Query(f"target:{what}_seconds:p{percent}_rate5m{_OF}", f"P{percent}")
        for percent in (50, 99)
    ]


def _load(built: Dashboard) -> None:
    built.with_row(Row("Load")).with_panel(
        chart(
            "Requests by outcome",
            Unit.REQUESTS_PER_S,
            [_per_outcome()],
            "abort: the client went away; rejected: the queue was full or no engine was there.",
            Look(stacked=True),
        )
    ).with_panel(
        chart(
            "Tokens",
            Unit.COUNT,
            [
                Query(f"target:output_tokens:rate1m{_OF}", "generated per second"),
                Query(f"target:prompt_tokens:rate1m{_OF}", "prompts per second"),
            ],
            "Tokens per second.",
        )
    ).with_panel(
        chart(
            "Requests in the worker",
            Unit.COUNT,
            [
                Query(f"sum(worker:num_requests_running{_OF})", "running"),
                Query(f"sum(worker:num_requests_waiting{_OF})", "waiting"),
            ],
            "In the batch, and before it.",
            Look(stacked=True),
        )
    ).with_panel(
        chart(
            "Mean lengths",
            Unit.COUNT,
            [
                Query(_mean("request_prompt_tokens"), "prompt tokens"),
                Query(_mean("request_generation_tokens"), "answer tokens"),
            ],
            "Of the requests that were served.",
        )
    )


def _per_outcome() -> Query:
    rate = f"rate(worker:requests_total{_OF}[$__rate_interval])"
    return Query(f"sum by (outcome) ({rate})", "{{outcome}}")


def _mean(metric: str, by: str = "") -> str:
    grouped = f"sum by ({by})" if by else "sum"
    total = f"{grouped} (rate(worker:{metric}_sum{_OF}[$__rate_interval]))"
    return f"{total} / {grouped} (rate(worker:{metric}_count{_OF}[$__rate_interval]))"


def _engine(built: Dashboard) -> None:
    built.with_row(Row("Engine")).with_panel(
        chart(
            "Mean time of a step",
            Unit.SECONDS,
            [
                Query(_mean("step_time_seconds", "kind"), "{{kind}}"),
                Query(f"target:step_seconds:usual_p99_1d{_OF}", "usual P99 of all"),
            ],
            "mixed: prompts and answers in one step. Above twice the dashed line is an alert.",
            Look(dashed="usual P99 of all"),
        )
    ).with_panel(
        chart(
            "KV cache and prefix cache",
            Unit.SHARE,
            [
                Query(f"worker:kv_cache_usage_perc{_OF}", "KV cache in use"),
                Query(f"target:prefix_cache_hits:ratio_rate5m{_OF}", "prompt tokens found"),
            ],
            "How full the KV cache is, and the share of prompt tokens that need not be computed.",
            SHARE_LOOK,
        )
    ).with_panel(
        chart(
            "Tokens in a step, rows that padding added",
            Unit.COUNT,
            [
                Query(_mean("iteration_tokens_total"), "tokens in a step"),
                Query(
                    f"sum(rate(worker:step_padded_rows_total{_OF}[$__rate_interval])) / "
                    f"sum(rate(worker:step_time_seconds_count{_OF}[$__rate_interval]))",
                    "padded rows in a step",
                ),
            ],
            "The batch that the scheduler makes.",
        )
    ).with_panel(
        chart(
            "Preemptions, engines",
            Unit.COUNT,
            [
                Query(
                    f"sum(increase(worker:num_preemptions_total{_OF}[$__rate_interval]))",
                    "preemptions",
                ),
                Query(f"sum(worker:engine_replicas{_OF})", "engines ready"),
            ],
            "A preempted request is computed again.",
        )
    )


def _settings(built: Dashboard) -> None:
    built.with_row(Row("Settings in force")).with_panel(
        rows_of("Numbers and switches", Query(f"worker:setting{_OF}"), "By knob.", _SCRAPE_LABELS)
    ).with_panel(
        rows_of(
            "Other knobs",
            Query(f"worker:settings_info{_OF}"),
            "By knob.",
            (*_SCRAPE_LABELS, "Value"),
        )
    )


def _pipeline(built: Dashboard) -> None:
    hits = f"sum(rate(worker:tokenizer_cache_hits_total{_OF}[$__rate_interval]))"
    looked = f"sum(rate(worker:tokenizer_cache_queries_total{_OF}[$__rate_interval]))"
    built.with_row(Row("Request pipeline")).with_panel(
        chart(
            "Mean time of a stage",
            Unit.SECONDS,
            [Query(_mean("pipeline_stage_seconds", "stage"), "{{stage}}")],
            "What a request goes through before the engine sees it.",
        )
    ).with_panel(
        chart(
            "Mean padding ratio, cached tokenisations",
            Unit.COUNT,
            [
                Query(_mean("padding_ratio", "grouping"), "padding, grouping {{grouping}}"),
                Query(f"{hits} / {looked}", "texts whose tokens were known"),
            ],
            "The distance of the two paddings is what grouping by length has to offer.",
        )
    )


def _hardware(built: Dashboard) -> None:
    built.with_row(Row("Hardware")).with_panel(
        chart(
            "Host",
            Unit.SHARE,
            [
                Query(f"node:cpu_busy:ratio_rate5m{_OF}", "processors {{instance}}"),
                Query(f"node:memory_used:ratio{_OF}", "memory {{instance}}"),
            ],
            "From node exporter.",
            SHARE_LOOK,
        )
    ).with_panel(
        chart(
            "GPUs",
            Unit.SHARE,
            [
                Query(f"gpu:utilisation:ratio{_OF}", "busy {{gpu}} {{GPU_I_ID}}"),
                Query(f"gpu:memory_used:ratio{_OF}", "memory {{gpu}} {{GPU_I_ID}}"),
            ],
            "From DCGM exporter; empty without GPUs.",
            SHARE_LOOK,
        )
    ).with_panel(
        chart(
            "Temperature of GPUs",
            Unit.CELSIUS,
            [Query(f"DCGM_FI_DEV_GPU_TEMP{_OF}", "{{gpu}}")],
            "Above 90 °C is an alert.",
        )
    ).with_panel(
        chart(
            "Power",
            Unit.WATTS,
            [
                Query(f"DCGM_FI_DEV_POWER_USAGE{_OF}", "GPU {{gpu}}"),
                Query(f"rate(autotuner_energy_joules_total{_OF}[$__rate_interval])", "{{source}}"),
            ],
            "Each GPU by its exporter; by source what the daemon measured, idle or not.",
        )
    ).with_panel(
        chart(
            "Energy of a token",
            Unit.JOULES,
            [Query(f"autotuner_energy_joules_per_token{_OF}", "each generated token")],
            "All energy of a minute, idleness included, over the tokens generated in it.",
        )
    )
