"""The few kinds of panel that the dashboards are made of. Knows units and looks, no metric."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from grafana_foundation_sdk.builders import common as common_builders
from grafana_foundation_sdk.builders import (
    dashboard as boards,
)
from grafana_foundation_sdk.builders import (
    prometheus,
    stat,
    table,
    timeseries,
)
from grafana_foundation_sdk.models import common, dashboard
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

SOURCE = dashboard.DataSourceRef(type_val="prometheus", uid="${datasource}")
WIDTH = 24  # columns of Grafana's grid
HEIGHT = 8
_STAT_HEIGHT = 4


class Unit(StrEnum):
    """Grafana's names of the units in use."""

    SHARE = "percentunit"
    SECONDS = "s"
    COUNT = "short"
    REQUESTS_PER_S = "reqps"
    CELSIUS = "celsius"
    WATTS = "watt"
    JOULES = "joule"


@dataclass(frozen=True)
class Query:
    """One PromQL expression and the legend of its series (a template over their labels)."""

    expr: str
    legend: str = "{{target}}"


@dataclass(frozen=True)
class Look:
    """How a chart is drawn: its width in columns, and its axis where data must not choose it."""

    span: int = WIDTH // 2
    least: float | None = 0.0
    most: float | None = None
    stacked: bool = False
    dashed: str | None = None  # series whose name matches this are drawn as dashed lines
    band: tuple[str, str] | None = None  # the series between which the chart is shaded, low first


SHARE_LOOK = Look(most=1.0)


def chart(
    title: str, unit: Unit, queries: Sequence[Query], told: str, look: Look | None = None
) -> timeseries.Panel:
    """Lines over time."""
    look = look or Look()
    panel = (
        timeseries.Panel()
        .title(title)
        .description(told)
        .datasource(SOURCE)
        .unit(unit.value)
        .height(HEIGHT)
        .span(look.span)
        .line_width(1.5)
        .fill_opacity(25 if look.stacked else 6)
        .show_points(common.VisibilityMode.NEVER)
        .legend(_legend())
        .tooltip(
            common_builders.VizTooltipOptions()
            .mode(common.TooltipDisplayMode.MULTI)
            .sort(common.SortOrder.DESCENDING)
        )
        .targets([_query(at, query) for at, query in enumerate(queries)])
    )
    return _drawn(panel, look)


def figure(
    title: str, unit: Unit, query: Query, told: str, steps: Sequence[tuple[float | None, str]]
) -> stat.Panel:
    """The latest values, large. `steps`: from which value on which colour; None is the first."""
    limits = [dashboard.Threshold(value=value, color=colour) for value, colour in steps]
    return (
        stat.Panel()
        .title(title)
        .description(told)
        .datasource(SOURCE)
        .unit(unit.value)
        .height(_STAT_HEIGHT)
        .span(WIDTH // 4)
        .no_value("none")
        .thresholds(boards.ThresholdsConfig().mode(dashboard.ThresholdsMode.ABSOLUTE).steps(limits))
        .reduce_options(common_builders.ReduceDataOptions().calcs(["lastNotNull"]))
        .targets([_query(0, query)])
    )


def rows_of(title: str, query: Query, told: str, hidden: Sequence[str]) -> table.Panel:
    """One row per series of an instant query, its labels as columns, less those `hidden`."""
    gone: dict[str, object] = {"excludeByName": dict.fromkeys(("Time", "__name__", *hidden), True)}
    return (
        table.Panel()
        .title(title)
        .description(told)
        .datasource(SOURCE)
        .height(HEIGHT)
        .span(WIDTH // 2)
        .targets([_query(0, query).instant().format(PromQueryFormat.TABLE)])
        .with_transformation(
            dashboard.DataTransformerConfig(id_val="organize", options=gone),
        )
    )


def _query(at: int, query: Query) -> prometheus.Dataquery:
    name = chr(ord("A") + at)
    return prometheus.Dataquery().ref_id(name).expr(query.expr).legend_format(query.legend)


def _legend() -> common_builders.VizLegendOptions:
    return (
        common_builders.VizLegendOptions()
        .display_mode(common.LegendDisplayMode.LIST)
        .placement(common.LegendPlacement.BOTTOM)
        .show_legend(show_legend=True)
    )


def _drawn(panel: timeseries.Panel, look: Look) -> timeseries.Panel:
    if look.least is not None:
        panel.min(look.least)
    if look.most is not None:
        panel.max(look.most)
    if look.stacked:
        panel.stacking(common_builders.StackingConfig().mode(common.StackingMode.NORMAL))
    if look.dashed is not None:
        dashes: dict[str, object] = {"fill": "dash", "dash": [8, 8]}
        panel.override_by_regexp(look.dashed, [_property("custom.lineStyle", dashes)])
    if look.band is not None:
        low, high = look.band
        thin = _property("custom.lineWidth", 0)
        panel.override_by_name(low, [thin])
        panel.override_by_name(high, [thin, _property("custom.fillBelowTo", low)])
    return panel


def _property(name: str, value: object) -> dashboard.DynamicConfigValue:
    return dashboard.DynamicConfigValue(id_val=name, value=value)
