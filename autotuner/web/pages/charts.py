"""Drawings of the page as SVG text: series with their forecast, and bars. Colours are classes.

A few hundred bytes of text each, made in microseconds: the page is drawn anew every few seconds
beside the daemon's cycle. The experiment's own panels come from `autotuner.report`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from html import escape

_TICKS_AIMED_AT = 4
_HOUR_S = 3600.0


@dataclass(frozen=True)
class SeriesChart:
    """One series over time. Times are UTC epoch seconds; a NaN is a hole in the line.

    `samples`: (at, value). `bands`: (at, expected, low, high). `odd`: anomalies, (at, value).
    `limit`: a value not to exceed (or fall below), NaN without. `tell` writes a value with its
    unit, `tick` as short as an axis needs it.
    """

    title: str
    samples: Sequence[tuple[float, float]]
    bands: Sequence[tuple[float, float, float, float]]
    odd: Sequence[tuple[float, float]]
    now: float
    tell: Callable[[float], str]
    tick: Callable[[float], str]
    limit: float = math.nan

    @property
    def empty(self) -> bool:
        """Whether there is nothing to draw at all."""
        return not self.bands and not any(math.isfinite(value) for _, value in self.samples)


@dataclass(frozen=True)
class _Frame:
    """The plot's rectangle and scales."""

    left: float
    right: float
    top: float
    bottom: float
    since: float
    until: float
    low: float
    high: float

    def x(self, at: float) -> float:
        share = (at - self.since) / (self.until - self.since)
        return round(self.left + share * (self.right - self.left), 1)

    def y(self, value: float) -> float:
        bounded = min(self.high, max(self.low, value))
        share = (bounded - self.low) / (self.high - self.low)
        return round(self.bottom - share * (self.bottom - self.top), 1)


def series_svg(chart: SeriesChart, *, narrow: bool) -> str:
    """The chart for a wide or a narrow screen; the style sheet shows the one that fits."""
    width, height = (340, 190) if narrow else (560, 190)
    frame = _frame(chart, width, height)
    parts = [
        *_grid(chart, frame),
        *_band(chart, frame),
        *_lines(((at, value) for at, value in chart.samples), "seen", frame),
        *_limit(chart, frame),
        *_now(chart, frame),
        *_odd(chart, frame),
    ]
    kind = "plot chart narrow" if narrow else "plot chart"
    label = escape(series_words(chart), quote=True)
    body = "".join(parts)
    return (
        f'<svg class="{kind}" viewBox="0 0 {width} {height}" role="img" aria-label="{label}">'
        f"{body}</svg>"
    )


def series_words(chart: SeriesChart) -> str:
    """The chart in a sentence, for those who can't see it and for its caption."""
    last = next((v for _, v in reversed(chart.samples) if math.isfinite(v)), math.nan)
    text = f"{chart.title}: last {chart.tell(last)}" if math.isfinite(last) else chart.title
    ahead = [band for band in chart.bands if band[0] >= chart.now]
    if ahead:
        _, expected, low, high = ahead[-1]
        hours = (ahead[-1][0] - chart.now) / _HOUR_S
        text += (
            f"; in {hours:.1f} h {chart.tell(expected)} is expected, "
            f"between {chart.tell(low)} and {chart.tell(high)}"
        )
    if chart.odd:
        count = len(chart.odd)
        text += f"; {count} {'anomaly' if count == 1 else 'anomalies'}"
    return f"{text}."


def meter_svg(share: float, mark: float | None, tone: str, label: str) -> str:
    """A bar filled to `share` (0..1), with a mark at `mark`; empty where the share is NaN."""
    filled = round(100 * min(1.0, max(0.0, share)), 1) if math.isfinite(share) else 0.0
    part = f'<rect class="part {escape(tone)}" width="{filled}" height="8"/>' if filled else ""
    line = "" if mark is None else _mark(100 * mark)
    return (
        '<svg class="meter" viewBox="0 0 100 8" preserveAspectRatio="none" role="img" '
        f'aria-label="{escape(label, quote=True)}">'
        f'<rect class="rest" width="100" height="8"/>{part}{line}</svg>'
    )


def interval_svg(low: float, effect: float, high: float, label: str) -> str:
    """Low to high as a bar around nothing (0), the effect as a mark; empty where it is NaN."""
    ends = [abs(value) for value in (low, effect, high) if math.isfinite(value)]
    most = 1.1 * max(ends, default=1.0) or 1.0

    def place(value: float, missing: float) -> float:
        return round(50 + 50 * (value / most if math.isfinite(value) else missing), 1)

    bar = mark = ""
    if math.isfinite(effect):
        left, right = place(low, -1.0), place(high, 1.0)
        tone = "good" if left > 50 else "bad" if right < 50 else ""
        wide = max(0.5, right - left)
        bar = f'<rect class="part {tone}" x="{left}" y="2" width="{wide:.1f}" height="4"/>'
        mark = _mark(place(effect, 0.0))
    return (
        '<svg class="meter" viewBox="0 0 100 8" preserveAspectRatio="none" role="img" '
        f'aria-label="{escape(label, quote=True)}"><rect class="rest" width="100" height="8"/>'
        f'{bar}<line class="zero" x1="50" x2="50" y1="0" y2="8"/>{mark}</svg>'
    )


def _mark(x: float) -> str:
    return f'<line class="mark" x1="{x:g}" x2="{x:g}" y1="0" y2="8"/>'


def _frame(chart: SeriesChart, width: float, height: float) -> _Frame:
    times = [at for at, _ in chart.samples] + [band[0] for band in chart.bands] + [chart.now]
    since, until = min(times), max(times)
    low, high = _range(chart)
    until = until if until > since else since + 1.0
    return _Frame(58, width - 8, 8, height - 22, since, until, low, high)


def _range(chart: SeriesChart) -> tuple[float, float]:
    """What the values span, from 0 on where none is negative; wide bands are cut off."""
    values = [v for _, v in chart.samples] + [b[1] for b in chart.bands] + [v for _, v in chart.odd]
    known = [v for v in values if math.isfinite(v)] or [0.0, 1.0]
    most, least = max(known), min(0.0, *known) if min(known) < 0 else 0.0
    reach = most + 0.5 * (most - least)
    ends = [b[3] for b in chart.bands if math.isfinite(b[3])]
    top = min(reach, max([most, *ends]))
    if math.isfinite(chart.limit) and chart.limit < 3 * max(most, 1e-9):
        top = max(top, chart.limit)
    top += 0.08 * (top - least)
    return (least, top) if top > least else (least, least + 1.0)


def _grid(chart: SeriesChart, frame: _Frame) -> Iterable[str]:
    for value in nice_ticks(frame.low, frame.high, _TICKS_AIMED_AT):
        y = frame.y(value)
        yield (
            f'<line class="grid-line" x1="{frame.left}" x2="{frame.right}" y1="{y}" y2="{y}"/>'
            f'<text x="{frame.left - 5}" y="{y + 3.5:.1f}" text-anchor="end">'
            f"{escape(chart.tick(value))}</text>"
        )
    for hours in hour_ticks(
        (frame.since - chart.now) / _HOUR_S, (frame.until - chart.now) / _HOUR_S
    ):
        x = frame.x(chart.now + hours * _HOUR_S)
        yield f'<text x="{x}" y="{frame.bottom + 15}" text-anchor="{_anchor(x, frame)}">'
        yield f"{hours_text(hours)}</text>"


def _anchor(x: float, frame: _Frame) -> str:
    if x > frame.right - 18:
        return "end"
    return "start" if x < frame.left + 10 else "middle"


def hours_text(hours: float) -> str:
    """A time from now, such as `now`, `−6 h`, `+30 min`: right in every zone."""
    if hours == 0:
        return "now"
    sign = "+" if hours > 0 else "−"
    size = abs(hours)
    return f"{sign}{size:g} h" if size >= 1 else f"{sign}{60 * size:.0f} min"


def hour_ticks(first: float, last: float) -> list[float]:
    """Hours from now, at a step of which about four fit."""
    steps = (1 / 12, 1 / 4, 1 / 2, 1, 2, 3, 6, 12, 24, 48, 168)
    step = next((s for s in steps if (last - first) / s <= _TICKS_AIMED_AT), 336.0)
    return [step * n for n in range(math.ceil(first / step), math.floor(last / step) + 1)]


def nice_ticks(low: float, high: float, count: int) -> list[float]:
    """Multiples of 1, 2 or 5 times a power of ten within the range, about `count` of them."""
    rough = (high - low) / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= rough * 0.999)
    return [step * n for n in range(math.ceil(low / step), math.floor(high / step) + 1)]


def _band(chart: SeriesChart, frame: _Frame) -> Iterable[str]:
    known = [b for b in chart.bands if all(math.isfinite(v) for v in b)]
    if known:
        upper = [f"{frame.x(b[0])},{frame.y(b[3])}" for b in known]
        lower = [f"{frame.x(b[0])},{frame.y(b[2])}" for b in reversed(known)]
        yield f'<polygon class="band" points="{" ".join(upper + lower)}"/>'
    yield from _lines(((b[0], b[1]) for b in chart.bands), "expected", frame)


def _lines(points: Iterable[tuple[float, float]], kind: str, frame: _Frame) -> Iterable[str]:
    """One line per run of known values; a value alone is a dot."""
    run: list[str] = []
    for at, value in (*points, (0.0, math.nan)):
        if math.isfinite(value):
            run.append(f"{frame.x(at)},{frame.y(value)}")
            continue
        if len(run) > 1:
            yield f'<polyline class="{kind}" points="{" ".join(run)}"/>'
        elif run:
            x, y = run[0].split(",")
            yield f'<circle class="dot" cx="{x}" cy="{y}" r="1.6"/>'
        run = []


def _limit(chart: SeriesChart, frame: _Frame) -> Iterable[str]:
    if math.isfinite(chart.limit) and frame.low <= chart.limit <= frame.high:
        y = frame.y(chart.limit)
        yield f'<line class="limit" x1="{frame.left}" x2="{frame.right}" y1="{y}" y2="{y}"/>'


def _now(chart: SeriesChart, frame: _Frame) -> Iterable[str]:
    x = frame.x(chart.now)
    yield f'<line class="now" x1="{x}" x2="{x}" y1="{frame.top}" y2="{frame.bottom}"/>'


def _odd(chart: SeriesChart, frame: _Frame) -> Iterable[str]:
    """Rings, so that they differ from the line by shape too."""
    for at, value in chart.odd:
        if math.isfinite(value) and frame.since <= at <= frame.until:
            yield f'<circle class="odd" cx="{frame.x(at)}" cy="{frame.y(value)}" r="4"/>'
