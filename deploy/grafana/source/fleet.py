"""The dashboard of all targets at once: who is well, who is tuned, what the daemon does."""

from __future__ import annotations

from grafana_foundation_sdk.builders.dashboard import Dashboard, Row

from deploy.grafana.source.board import board
from deploy.grafana.source.panels import SHARE_LOOK, Look, Query, Unit, chart, figure, rows_of

_ALARM = ((None, "green"), (1.0, "red"))


def fleet() -> Dashboard:
    built = board("fleet", "Fleet", "All targets, and the daemon that tunes them.", "now-6h")
    for add in (_state, _traffic, _daemon):
        add(built)
    return built


def _state(built: Dashboard) -> None:
    built.with_panel(
        figure(
            "Targets with a daemon",
            Unit.COUNT,
            Query("count(count by (target) (autotuner_cycle_seconds_count))", "targets"),
            "Targets for which cycles are run.",
            ((None, "blue"),),
        )
    ).with_panel(
        figure(
            "Workers down",
            Unit.COUNT,
            Query('count(up{job="worker"} == 0) or vector(0)', "down"),
            "Workers that do not answer scrapes.",
            _ALARM,
        )
    ).with_panel(
        figure(
            "Alerts firing",
            Unit.COUNT,
            Query(
                'count(ALERTS{alertstate="firing", severity!="info", tier!=""}) or vector(0)',
                "alerts",
            ),
            "Of these rules, less those that only inform.",
            _ALARM,
        )
    ).with_panel(
        figure(
            "Alerts not delivered",
            Unit.COUNT,
            Query("sum(autotuner_alerts_undelivered)", "waiting"),
            "The daemon's own alerts that no receiver has taken yet.",
            _ALARM,
        )
    )


def _traffic(built: Dashboard) -> None:
    built.with_row(Row("Traffic")).with_panel(
        chart(
            "SLO attainment",
            Unit.SHARE,
            [Query("target:attainment:ratio")],
            "Share of the recent requests that met all their targets; absent where none ended.",
            SHARE_LOOK,
        )
    ).with_panel(
        chart(
            "Requests",
            Unit.REQUESTS_PER_S,
            [Query("target:requests:rate1m")],
            "Requests that ended, whatever their outcome.",
        )
    ).with_panel(
        chart(
            "Requests that fail or are turned away",
            Unit.SHARE,
            [Query("target:failed:ratio_rate5m")],
            "Share of all requests over 5 minutes.",
        )
    ).with_panel(
        chart(
            "Time to first token, P99",
            Unit.SECONDS,
            [Query("target:ttft_seconds:p99_rate5m")],
            "Over 5 minutes, read from histograms.",
        )
    )


def _daemon(built: Dashboard) -> None:
    built.with_row(Row("Tuning")).with_panel(
        chart(
            "Confidence of the running tests",
            Unit.SHARE,
            [Query("autotuner_experiment_confidence")],
            "Anytime-valid; a candidate is kept from 95% on. 0 where no test runs.",
            SHARE_LOOK,
        )
    ).with_panel(
        chart(
            "What cycles do",
            Unit.COUNT,
            [
                Query(
                    "sum by (action) (increase(autotuner_cycles_total[$__rate_interval]))",
                    "{{action}}",
                )
            ],
            "Cycles by their action, over all targets.",
            Look(stacked=True),
        )
    ).with_panel(
        chart(
            "Time of a cycle, P99",
            Unit.SECONDS,
            [
                Query(
                    "histogram_quantile(0.99, sum by (target, le) "
                    "(rate(autotuner_cycle_seconds_bucket[$__rate_interval])))"
                )
            ],
            "From reading the target to the action taken.",
        )
    ).with_panel(
        chart(
            "Cycles that failed, jobs that came late",
            Unit.COUNT,
            [
                Query(
                    "increase(autotuner_cycle_failures_total[$__rate_interval])",
                    "failed {{target}}",
                ),
                Query("increase(autotuner_misfires_total[$__rate_interval])", "late {{job}}"),
            ],
            "Neither should happen.",
        )
    ).with_panel(
        chart(
            "Deliveries of alerts",
            Unit.COUNT,
            [
                Query(
                    "increase(autotuner_alert_deliveries_total[$__rate_interval])",
                    "{{receiver}} {{result}}",
                )
            ],
            "The daemon's own; what failed is tried again.",
        )
    ).with_panel(
        rows_of(
            "Alerts firing",
            Query('ALERTS{alertstate="firing", tier!=""}'),
            "What Prometheus' rules see now.",
            ("alertstate", "job", "Value"),
        )
    )
