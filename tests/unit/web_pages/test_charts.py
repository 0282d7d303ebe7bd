"""The drawings: holes, odd ranges, ticks."""

from __future__ import annotations

import math
import re
from dataclasses import replace

import pytest

from autotuner.web.pages.charts import (
    SeriesChart,
    hour_ticks,
    hours_text,
    interval_svg,
    meter_svg,
    nice_ticks,
    series_svg,
    series_words,
)

NAN, INF = math.nan, math.inf


def chart(*values: float, limit: float = NAN, bands: tuple[float, ...] = ()) -> SeriesChart:
    """Samples every minute up to now; bands of ±1 from now on."""
    now = 60.0 * len(values)
    return SeriesChart(
        title="Load",
        samples=[(60.0 * n, value) for n, value in enumerate(values)],
        bands=[(now + 60.0 * n, value, value - 1, value + 1) for n, value in enumerate(bands)],
        odd=[],
        now=now,
        tell=lambda value: f"{value:.3g} u",
        tick=lambda value: f"{value:.3g}",
        limit=limit,
    )


def test_a_hole_parts_the_line_and_a_value_alone_is_a_dot() -> None:
    svg = series_svg(chart(1, 2, NAN, 3, NAN, 2, 2), narrow=False)
    assert svg.count('<polyline class="seen"') == 2
    assert svg.count('<circle class="dot"') == 1


@pytest.mark.parametrize(
    "values", [(0, 0), (5,), (-3, -2), (1e-9, 2e-9), (1e12, 2e12), (INF, 1), (NAN, NAN)]
)
@pytest.mark.parametrize("bands", [(), (1, NAN, 3), (1e15,)])
def test_every_range_is_drawn_inside_the_frame(
    values: tuple[float, ...], bands: tuple[float, ...]
) -> None:
    svg = series_svg(chart(*values, bands=bands), narrow=True)
    assert "nan" not in svg
    assert "inf" not in svg
    drawn = re.findall(r"(?:points=\"|\s)(-?[\d.]+),(-?[\d.]+)", svg)
    assert all(0 <= float(x) <= 340 and 0 <= float(y) <= 190 for x, y in drawn)


def test_a_limit_near_the_values_is_drawn_and_one_far_off_is_not() -> None:
    assert 'class="limit"' in series_svg(chart(1, 2, limit=3), narrow=False)
    assert 'class="limit"' not in series_svg(chart(1, 2, limit=300), narrow=False)


def test_words_tell_the_last_value_that_is_known_and_what_is_expected() -> None:
    assert series_words(chart(1, 2, NAN)) == "Load: last 2 u."
    told = series_words(chart(1, bands=(4,) * 61))
    assert told == "Load: last 1 u; in 1.0 h 4 u is expected, between 3 u and 5 u."


def test_a_title_is_escaped() -> None:
    assert "<b>" not in series_svg(replace(chart(1, 2), title='<b>"'), narrow=False)


def test_ticks() -> None:
    assert nice_ticks(0, 4.3, 4) == [0, 2, 4]
    assert nice_ticks(0.1, 0.35, 4) == pytest.approx([0.1, 0.2, 0.3])
    assert hour_ticks(-12, 6) == [-12, -6, 0, 6]
    assert [hours_text(h) for h in (-6, 0, 0.25)] == ["−6 h", "now", "+15 min"]


@pytest.mark.parametrize(("share", "width"), [(0.5, "50.0"), (7.0, "100.0"), (-1.0, ""), (NAN, "")])
def test_a_meter_stays_in_its_frame(share: float, width: str) -> None:
    found = re.search(r'class="part good" width="([\d.]+)"', meter_svg(share, 0.95, "good", "x"))
    assert (found.group(1) if found else "") == width


def test_an_interval_that_leaves_out_nothing_is_told_by_its_class_and_place() -> None:
    assert 'class="part good"' in interval_svg(0.1, 0.2, 0.3, "x")
    assert 'class="part bad"' in interval_svg(-0.3, -0.2, -0.1, "x")
    assert 'class="part "' in interval_svg(-0.1, 0.2, 0.3, "x")
    assert 'class="part' not in interval_svg(NAN, NAN, NAN, "x")
    assert "nan" not in interval_svg(NAN, 0.2, INF, "x")
