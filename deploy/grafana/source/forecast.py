"""The dashboard of a target's load against its own past and what is ahead of it."""

from __future__ import annotations

from grafana_foundation_sdk.builders.dashboard import Dashboard, Row

from deploy.grafana.source.board import board_of_a_target
from deploy.grafana.source.panels import SHARE_LOOK, Look, Query, Unit, chart, figure, rows_of

_OF = '{target="$target"}'
_BAND = ("low", "high")
_STABILITY = f"target:request_rate_stability:ratio30m{_OF}"
_RATE = f"target:requests:rate5m{_OF}"


def forecast() -> Dashboard:
    built = board_of_a_target(
        "forecast",
        "Load and forecast",
        "The load of a target against its own past, and what that says of the hour ahead.",
        "now-2d",
    )
    for add in (_now, _expected, _intervals, _season, _steadiness, _served):
        add(built)
    return built


def _now(built: Dashboard) -> None:
    built.with_panel(
        figure(
            "Requests now",
            Unit.REQUESTS_PER_S,
            Query(_RATE, "now"),
            "Mean of 5 minutes.",
            ((None, "blue"),),
        )
    ).with_panel(
        figure(
            "Against yesterday",
            Unit.SHARE,
            Query(f"{_RATE} / ({_RATE} offset 1d > 0)", "of yesterday's"),
            "Share of the rate at this time yesterday.",
            ((None, "blue"),),
        )
    ).with_panel(
        figure(
            "Expected now",
            Unit.REQUESTS_PER_S,
            Query(f"autotuner_forecast_value{_of('offered_rps')}", "expected"),
            "The daemon's forecast of the load.",
            ((None, "blue"),),
        )
    ).with_panel(
        figure(
            "Peak expected in the next hour",
            Unit.REQUESTS_PER_S,
            Query(f"target:requests:seasonal_peak1h{_OF}", "peak"),
            "The highest in the same hour a week ago, or a day ago where a week is not known.",
            ((None, "blue"),),
        )
    )


def _of(series: str) -> str:
    return f'{{target="$target", series="{series}"}}'


def _forecast(series: str) -> list[Query]:
    return [
        Query(f"autotuner_forecast_{end}{_of(series)}", legend)
        for end, legend in (("value", "expected"), ("low", "low"), ("high", "high"))
    ]


def _expected(built: Dashboard) -> None:
    built.with_row(Row("What the daemon expects")).with_panel(
        chart(
            "Load",
            Unit.REQUESTS_PER_S,
            [Query(f"autotuner_offered_rps{_OF}", "seen"), *_forecast("offered_rps")],
            "Each forecast as it was for that moment; shaded is its interval.",
            Look(dashed="expected", band=_BAND),
        )
    ).with_panel(
        chart(
            "Attainment",
            Unit.SHARE,
            [Query(f"target:attainment:ratio{_OF}", "seen"), *_forecast("attainment")],
            "Each forecast as it was for that moment; shaded is its interval.",
            Look(most=1.0, dashed="expected", band=_BAND),
        )
    )


def _intervals(built: Dashboard) -> None:
    built.with_row(Row("How good forecasts are")).with_panel(
        chart(
            "Share of values that their interval held",
            Unit.SHARE,
            [
                Query(f"autotuner_forecast_coverage{_OF}", "{{series}}"),
                Query(f"max(autotuner_forecast_nominal_coverage{_OF})", "meant"),
            ],
            "Far below: intervals are too narrow; far above: too wide to tell anything odd.",
            Look(most=1.0, dashed="meant"),
        )
    ).with_panel(
        rows_of(
            "Models in use",
            Query(f"autotuner_forecast_model{_OF} == 1"),
            "The model that was best on the series' own past.",
            ("job", "instance", "target", "Value"),
        )
    ).with_panel(
        chart(
            "Age of forecasts",
            Unit.SECONDS,
            [Query(f"time() - autotuner_forecast_made_timestamp_seconds{_OF}", "{{series}}")],
            "It falls to 0 with each fit.",
        )
    ).with_panel(
        chart(
            "Values counted",
            Unit.COUNT,
            [Query(f"autotuner_forecast_covered_points{_OF}", "{{series}}")],
            "A coverage over few of them says little.",
        )
    )


def _season(built: Dashboard) -> None:
    built.with_row(Row("Load")).with_panel(
        chart(
            "Requests against the same time of a day and a week ago",
            Unit.REQUESTS_PER_S,
            [
                Query(_RATE, "now"),
                Query(f"{_RATE} offset 1d", "a day ago"),
                Query(f"{_RATE} offset 1w", "a week ago"),
                Query(f"target:requests:seasonal_peak1h{_OF}", "peak of the next hour, seasonal"),
            ],
            "The seasonal forecast is the least that a better one has to beat.",
            Look(span=24, dashed=".*(ago|seasonal)"),
        )
    )


def _steadiness(built: Dashboard) -> None:
    built.with_row(Row("Shape")).with_panel(
        chart(
            "Steadiness of the rate",
            Unit.SHARE,
            [
                Query(_STABILITY, "now"),
                Query(
                    f"0.95 * avg_over_time({_STABILITY}[1d] offset 30m)",
                    "alert below",
                ),
            ],
            "1 is even. A Poisson stream of N requests in 5 minutes is near 1 - 1/√N.",
            Look(most=1.0, dashed="alert below"),
        )
    ).with_panel(
        chart(
            "Error of the seasonal forecast",
            Unit.REQUESTS_PER_S,
            [
                Query(f"abs({_RATE} - {_RATE} offset 1w)", "against a week ago"),
                Query(f"abs({_RATE} - {_RATE} offset 1d)", "against a day ago"),
            ],
            "Absolute, of means over 5 minutes.",
        )
    )


def _served(built: Dashboard) -> None:
    built.with_row(Row("What the load meets")).with_panel(
        chart(
            "Attainment, and the level that alerts",
            Unit.SHARE,
            [
                Query(f"target:attainment:ratio{_OF}", "attainment"),
                Query(
                    f"0.95 * avg_over_time(target:attainment:ratio{_OF}[1h] offset 10m)",
                    "alert below",
                ),
            ],
            "An alert is 5% below the mean of the hour before.",
            Look(most=1.0, dashed="alert below"),
        )
    ).with_panel(
        chart(
            "Requests as the daemon counts them",
            Unit.REQUESTS_PER_S,
            [Query(f"autotuner_offered_rps{_OF}", "offered"), Query(_RATE, "ended")],
            "The daemon forecasts the first; Prometheus sees the second.",
        )
    ).with_panel(
        chart(
            "Share of the KV cache in use",
            Unit.SHARE,
            [Query(f"max by (target) (worker:kv_cache_usage_perc{_OF})", "KV cache")],
            "Near 1 there is no room for a higher load.",
            SHARE_LOOK,
        )
    )
