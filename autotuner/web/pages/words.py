"""How figures, times and settings are told on the page: each with its unit, none as `nan`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from markupsafe import Markup

from autotuner.abtest.wording import percent
from autotuner.domain.measures import measure
from autotuner.report.numbers import gain_text, length_text

DASH = "–"
_LONG_UNIT = 3
_SERIES = {
    "offered_rps": ("Load", "requests/s"),
    "attainment": ("SLO attainment", "share"),
    "ttft_s": ("Time to first token", "s"),
    "tpot_s": ("Time per output token", "s"),
    "itl_s": ("Gap between tokens", "s"),
    "gap_max_s": ("Largest gap", "s"),
    "e2el_s": ("Whole request", "s"),
    "queue_s": ("Wait in the queue", "s"),
    "step_s": ("Engine step", "s"),
    "kv_usage": ("KV cache in use", "share"),
    "gpu_utilisation": ("GPU at work", "share"),
    "gpu_memory_usage": ("GPU memory in use", "share"),
    "host_memory_usage": ("Host memory in use", "share"),
    "qps_stability": ("Steadiness of the load", ""),
    "error_budget_remaining": ("Error budget left", "share"),
    "error_budget_burn_1h": ("Budget burn, 1 h", ""),
    "error_budget_burn_6h": ("Budget burn, 6 h", ""),
    "error_budget_burn_3d": ("Budget burn, 3 days", ""),
    "power_w": ("Power", "W"),
    "energy_j_per_token": ("Energy per token", "J"),
    "energy_j_per_request": ("Energy per request", "J"),
    "temperature_c": ("Hottest device", "°C"),
    "running": ("Requests in the batch", ""),
    "waiting": ("Requests in the queue", ""),
}
_VERDICT_TONES = {"ACCEPTED": "good", "HARMFUL": "bad", "ABORTED": "warn"}
_MODE_TONES = {"active": "good", "advisory": "info", "paused": "warn"}
_STAGE_TONES = {
    "promoted": "good", "offered": "info", "training": "info", "refused": "warn", "failed": "bad",
    "rolled_back": "warn",
}  # fmt: skip
_SEVERITY_TONES = {"critical": "bad", "warning": "warn", "info": "info"}


def series_title(name: str) -> str:
    """What a series is called; its own name where it has no other."""
    return _SERIES[name][0] if name in _SERIES else name


def series_text(name: str, value: float | None) -> str:
    """A value of a series with its unit."""
    if value is None or not math.isfinite(value):
        return DASH
    unit = _SERIES[name][1] if name in _SERIES else "s" if name.endswith("_s") else ""
    if unit == "share":
        return f"{100 * value:.3g}%"
    if unit == "s":
        return seconds_text(value)
    text = f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"
    return f"{text} {unit}".rstrip()


def series_unit(name: str) -> str:
    """The unit that stands beside a chart's title, where it is too long for its ticks."""
    unit = _SERIES[name][1] if name in _SERIES else ""
    return unit if len(unit) > _LONG_UNIT and unit != "share" else ""


def tick_text(name: str, value: float) -> str:
    """A value at an axis."""
    text, unit = series_text(name, value), series_unit(name)
    return text.removesuffix(f" {unit}") if unit else text


def seconds_text(value: float) -> str:
    """A latency: ms below a second."""
    return f"{1000 * value:.3g} ms" if 0 < abs(value) < 1 else f"{value:.3g} s"


def confidence_text(value: float | None) -> str:
    """Such as `87.3%`; `none yet` before the first look."""
    return "none yet" if value is None or not math.isfinite(value) else percent(value)


def gain(outcome: str, difference: float | None) -> str:
    """A difference in an outcome as people read it; plus is better."""
    if difference is None or not math.isfinite(difference):
        return DASH
    return gain_text(measure(outcome), difference)


def between(outcome: str, low: float | None, high: float | None) -> str:
    """The interval, such as `+2.7 points … +31.2 points`; a side that is not known is a dash."""
    floor, ceiling = measure(outcome).span
    known_low = low if low is not None and low > floor else None
    known_high = high if high is not None and high < ceiling else None
    if known_low is None and known_high is None:
        return DASH
    return f"{gain(outcome, known_low)} … {gain(outcome, known_high)}"


def loss(value: float | None) -> str:
    """A loss in nats per token."""
    return DASH if value is None else f"{value:.3f}"


def value_text(value: Any) -> str:
    """A knob's value."""
    if isinstance(value, list | tuple):
        return ", ".join(str(one) for one in value)
    return DASH if value is None else str(value)


def ago(at: float | None, now: float) -> str:
    """Such as `12 s ago`, `in 3 h`."""
    if at is None or not math.isfinite(at):
        return DASH
    length = length_text(abs(now - at))
    return f"{length} ago" if at <= now else f"in {length}"


def time_tag(at: float | None) -> Markup:
    """A time in UTC, which the page's script rewrites in the reader's zone; the title keeps UTC."""
    if at is None or not math.isfinite(at):
        return Markup("–")
    moment = datetime.fromtimestamp(at, UTC)
    shown = moment.strftime("%Y-%m-%d %H:%M:%S UTC")
    return Markup('<time class="once" datetime="{}" title="{}">{}</time>').format(
        moment.strftime("%Y-%m-%dT%H:%M:%SZ"), shown, shown
    )


def tone(word: str | None) -> str:
    """The class of a badge for a verdict, mode, stage or severity; the badge says the word."""
    tones: Mapping[str, str] = {
        **_VERDICT_TONES, **_MODE_TONES, **_STAGE_TONES, **_SEVERITY_TONES,
    }  # fmt: skip
    return tones.get(word or "", "")


FILTERS: Mapping[str, Any] = {
    "series_title": series_title,
    "series_unit": series_unit,
    "confidence": confidence_text,
    "knob_value": value_text,
    "loss": loss,
    "at": time_tag,
    "tone": tone,
}
