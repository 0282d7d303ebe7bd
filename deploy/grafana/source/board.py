"""What all dashboards share: their variables, links, annotations and defaults."""

from __future__ import annotations

from grafana_foundation_sdk.builders import dashboard as boards
from grafana_foundation_sdk.models import dashboard

from deploy.grafana.source.panels import SOURCE

TAG = "autotuner"
# Everything that is tuned has a daemon; what is only watched has a worker.
_TARGETS = (
    'label_values({__name__=~"autotuner_cycle_seconds_count|worker:engine_replicas"}, target)'
)


def board(name: str, title: str, told: str, since: str) -> boards.Dashboard:
    """An empty dashboard over the time from `since`, such as "now-6h", with links to the others."""
    return (
        boards.Dashboard(f"Autotuner / {title}")
        .uid(f"autotuner-{name}")
        .description(told)
        .tags([TAG])
        .time(since, "now")
        .refresh("30s")
        .timezone("browser")
        .readonly()
        .tooltip(dashboard.DashboardCursorSync.CROSSHAIR)
        .link(
            boards.DashboardLink("Autotuner")
            .type(dashboard.DashboardLinkType.DASHBOARDS)
            .tags([TAG])
            .as_dropdown(as_dropdown=True)
            .include_vars(include_vars=True)
            .keep_time(keep_time=True)
        )
        .with_variable(
            boards.DatasourceVariable("datasource").label("Prometheus").type("prometheus")
        )
        .annotation(_alerts())
    )


def board_of_a_target(name: str, title: str, told: str, since: str) -> boards.Dashboard:
    """The same with the variable `$target`, and a mark where its settings changed."""
    return (
        board(name, title, told, since)
        .with_variable(
            boards.QueryVariable("target")
            .label("Target")
            .datasource(SOURCE)
            .query(_TARGETS)
            .refresh(dashboard.VariableRefresh.ON_TIME_RANGE_CHANGED)
            .sort(dashboard.VariableSort.ALPHABETICAL_ASC)
        )
        .annotation(
            _mark(
                "Settings changed",
                'changes(worker:settings_generation{target="$target"}[1m]) > 0',
                "blue",
            )
        )
    )


def _alerts() -> boards.AnnotationQuery:
    return _mark("Alerts", 'ALERTS{alertstate="firing", tier!=""}', "red")


def _mark(name: str, expr: str, colour: str) -> boards.AnnotationQuery:
    return (
        boards.AnnotationQuery()
        .name(name)
        .datasource(SOURCE)
        .enable(enable=True)
        .icon_color(colour)
        .expr(expr)
    )
