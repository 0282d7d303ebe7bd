"""The drawings of each view as markup: made from what `web.views` holds, or by the report."""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import TYPE_CHECKING

from markupsafe import Markup

from autotuner.abtest.wording import percent
from autotuner.domain.experiment import Experiment
from autotuner.report.captions import alternative, caption
from autotuner.report.palette import ROLES
from autotuner.report.vector import inline_svg
from autotuner.web.pages.charts import (
    SeriesChart,
    meter_svg,
    series_svg,
    series_words,
)
from autotuner.web.pages.safe import trusted
from autotuner.web.pages.words import series_text, series_title, tick_text
from autotuner.web.views import BudgetView, Objective, SeriesView

if TYPE_CHECKING:
    from autotuner.report.figure import Panel

_KEPT_FIGURES = 100  # chosen: of twenty experiments, some MB
_FULL_BAR = 1.5  # a latency's bar is full at so many times its limit


def series_figure(series: SeriesView, now: float, limit: float | None, ahead_s: float) -> Markup:
    """Samples, forecast band and anomalies of one series, with its words below."""
    chart = SeriesChart(
        title=series_title(series.name),
        samples=[(one.at, _number(one.value)) for one in series.samples],
        bands=[
            (one.at, _number(one.value), _number(one.low), _number(one.high))
            for one in series.forecast
            if one.at <= now + ahead_s
        ],
        odd=[(one.at, _number(one.value)) for one in series.anomalies],
        now=now,
        tell=lambda value: series_text(series.name, value),
        tick=lambda value: tick_text(series.name, value),
        limit=_number(limit),
    )
    if chart.empty:
        return trusted('<p class="empty">Nothing was measured yet.</p>')
    drawings = "".join(series_svg(chart, narrow=narrow) for narrow in (False, True))
    words = Markup("{}").format(series_words(chart))
    return trusted(f"<figure>{drawings}<figcaption>{words}</figcaption></figure>")


def objective_bar(one: Objective) -> Markup:
    """How far the figure is from its limit; the mark is the limit."""
    seen, share_of = _number(one.seen), one.name == "attainment"
    label = f"{series_title(one.name)} {series_text(one.name, one.seen)}, limit {one.limit:g}"
    full = 1.0 if share_of else _FULL_BAR * one.limit
    tone = "" if one.met is None else "good" if one.met else "bad"
    return trusted(meter_svg(seen / full, one.limit / full, tone, label))


def budget_bar(budget: BudgetView) -> Markup:
    """How much of the error budget is left; the mark is the reserve."""
    left = _number(budget.remaining)
    tone = "" if math.isnan(left) else "good" if left >= budget.reserve else "bad"
    return trusted(meter_svg(left, budget.reserve, tone, f"error budget: {budget.words}"))


def confidence_bar(confidence: float | None, needed: float) -> Markup:
    """The confidence against what is needed."""
    value = _number(confidence)
    told = percent(value) if math.isfinite(value) else "none yet"
    tone = "good" if value >= needed else ""
    return trusted(meter_svg(value, needed, tone, f"confidence {told}, needed {percent(needed)}"))


class ExperimentFigures:
    """The report's panels of an experiment, kept while nothing about it changes.

    matplotlib takes some 100 ms a panel and its settings are the process's, so one thread draws at
    a time, and a page that is refreshed every few seconds draws nothing twice.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[object, ...], Markup] = OrderedDict()

    def of(self, experiment: Experiment) -> Sequence[Markup]:
        """One figure for each panel, in the order of reading."""
        from autotuner.report.figure import panels  # brings matplotlib, which takes a second

        with self._lock:
            return [self._figure(panel, experiment) for panel in panels(experiment)]

    def _figure(self, panel: Panel, experiment: Experiment) -> Markup:
        key = (experiment.id, panel.name, _state(experiment, panel.name))
        if key not in self._kept:
            self._kept[key] = _drawn(panel, experiment)
            while len(self._kept) > _KEPT_FIGURES:
                self._kept.popitem(last=False)
        self._kept.move_to_end(key)
        return self._kept[key]


def _state(experiment: Experiment, panel: str) -> tuple[object, ...]:
    """What a panel depends on; only that of slots changes between two looks."""
    looks = (len(experiment.looks), experiment.phase.value if not experiment.running else "")
    if panel != "slots":
        return looks
    slots = tuple((one.counted_from, one.ended_at, one.excluded) for one in experiment.slots[-4:])
    return (*looks, len(experiment.slots), slots)


def _drawn(panel: Panel, experiment: Experiment) -> Markup:
    """Slots in two widths, of which the style sheet shows one; the others stand side by side."""
    from autotuner.report.figure import panel_svg

    label = alternative(panel.name, experiment)

    def drawing(narrow: bool, kind: str) -> str:
        name = f"{panel.name}-{'narrow' if narrow else 'wide'}"
        return inline_svg(panel_svg(panel, experiment, narrow=narrow), name, label, ROLES, kind)

    if panel.name == "slots":
        drawings = [drawing(False, "plot"), drawing(True, "plot narrow")]
    else:
        drawings = [drawing(True, "plot always")]
    told = Markup("<figcaption>{}</figcaption>").format(caption(panel.name, experiment))
    return trusted(f'<figure class="{panel.name}">{"".join(drawings)}{told}</figure>')


def _number(value: float | None) -> float:
    return math.nan if value is None else value
