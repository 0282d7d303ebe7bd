"""What the panels share: the look of an axis, notes and the scales; no experiment in here."""

from __future__ import annotations

import math
import textwrap
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.ticker import FixedFormatter, FixedLocator, FuncFormatter, NullLocator

from autotuner.report.palette import FAINT, INK, MUTED, PAPER

FONT_PT, SMALL_PT = 9.0, 8.0
WIDE_CHARS, NARROW_CHARS, TITLE_SHARE = (
    116,
    50,
    0.84,
)  # of a small line of text, as measured in DejaVu Sans
_CONFIDENCES = (0.0, 0.5, 0.8, 0.9, 0.95, 0.99, 0.999, 0.9999, 0.99999)
_MOST_NINES = 5.5
_STYLE: Any = {
    "font.size": FONT_PT,
    "text.color": INK,
    "text.parse_math": False,  # what people wrote is taken literally, whatever signs are in it
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.titlesize": FONT_PT + 1,
    "axes.titlelocation": "left",
    "axes.facecolor": "none",
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "hatch.linewidth": 0.8,
    "legend.frameon": False,
    "legend.fontsize": SMALL_PT,
    "figure.facecolor": PAPER,
    "svg.fonttype": "none",  # text stays text: it can be searched and takes the page's font
    "svg.hashsalt": "autotuner",  # the same experiment gives the same bytes
    "axes.unicode_minus": True,
}


@contextmanager
def drawing() -> Iterator[None]:
    """The style of all figures; a letter that the font lacks is a box, not a warning."""
    with mpl.rc_context(_STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        yield


def titled(axis: Axes, text: str, narrow: bool) -> None:
    width = TITLE_SHARE * (NARROW_CHARS if narrow else WIDE_CHARS)
    axis.set_title("\n".join(textwrap.wrap(text, int(width))))


def note(axis: Axes, text: str, x: float, y: float, **style: Any) -> None:
    """Small text at a place of the axis."""
    axis.text(x, y, text, **{"fontsize": SMALL_PT, **style})


def nothing_yet(axis: Axes, text: str) -> None:
    """An axis that has nothing to show says so."""
    axis.set_xticks([])
    axis.set_yticks([])
    axis.spines[["left", "bottom"]].set_visible(False)
    note(axis, text, 0.5, 0.5, transform=axis.transAxes, ha="center", va="center", color=MUTED)


def folded(text: str, narrow: bool, lines: int) -> str:
    """`text` in at most so many lines, without signs that no drawing can hold."""
    text = "".join(sign if sign.isprintable() else " " for sign in text)
    width = NARROW_CHARS if narrow else WIDE_CHARS
    return "\n".join(textwrap.wrap(text, width, max_lines=lines, placeholder=" …"))


def counted_axis(axis: Axes, count: int) -> None:
    """Whole numbers of pairs along x."""
    step = max(1, math.ceil(count / 10))
    axis.set_xlim(0.5, max(count, 1) + 0.5)
    axis.set_xticks(range(step if step > 1 else 1, count + 1, step))
    axis.set_xlabel("pairs counted")


def nines(confidence: float) -> float:
    """A confidence as −log10(1 − c): 90% is 1, 99% is 2; bounded, so that it can be drawn."""
    left = 1 - confidence
    return min(_MOST_NINES, -math.log10(left)) if left > 0 else _MOST_NINES


def confidence_axis(axis: Axes, highest: float) -> None:
    """Labels in per cent on a scale of nines, a little beyond the confidence `highest`."""
    top = max(2.1, nines(highest) + 0.25)
    shown = [c for c in _CONFIDENCES if nines(c) <= top]
    axis.set_ylim(-0.05, top)
    axis.yaxis.set_major_locator(FixedLocator([nines(c) for c in shown]))
    axis.yaxis.set_major_formatter(FixedFormatter([f"{100 * c:g}%" for c in shown]))
    axis.grid(axis="y", color=FAINT, lw=0.6)


def plain_log_ticks(axis: Axes, which: str) -> None:
    """A log axis labelled with plain numbers at 1, 2 and 5 of each decade."""
    low, high = axis.get_xlim() if which == "x" else axis.get_ylim()
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    places = [m * 10.0**d for d in decades for m in (1, 2, 5) if low <= m * 10.0**d <= high]
    part = axis.xaxis if which == "x" else axis.yaxis
    part.set_major_locator(FixedLocator(places))
    part.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    part.set_minor_locator(NullLocator())
