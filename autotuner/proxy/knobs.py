"""What the settings take: the proxy's live knobs, and the server's that take a restart. Pure."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from typing import Any

from autotuner.fronts.admin import invalid_setting
from autotuner.proxy.ports import EngineKnob, Value

_LARGEST = sys.float_info.max  # so that infinities are none

LIVE: Mapping[str, EngineKnob] = {
    "max_concurrency": EngineKnob("max_concurrency", "int", 1, 4096),
    "max_queue": EngineKnob("max_queue", "int", 0, 65536),
}


def capabilities(engine: Mapping[str, EngineKnob]) -> dict[str, dict[str, Any]]:
    """Each knob's type, range and whether it changes live: what `GET /admin/settings` tells."""
    told = {name: _told(knob, live=False) for name, knob in engine.items()}
    return told | {name: _told(knob, live=True) for name, knob in LIVE.items()}


def updated(
    settings: Mapping[str, Value], changes: Mapping[str, Any], engine: Mapping[str, EngineKnob]
) -> dict[str, Value]:
    """The settings with the changes; raises NotChangedError (422) naming the first bad one."""
    knobs = {**engine, **LIVE}
    for name, value in changes.items():
        if name not in settings or name not in knobs:
            known = ", ".join(name for name in knobs if name in settings)
            raise _invalid(name, value, f"no such knob: give one of {known}")
    return {**settings, **{name: checked(knobs[name], value) for name, value in changes.items()}}


def checked(knob: EngineKnob, value: Any) -> Value:
    """The value as the knob has it; raises NotChangedError (422)."""
    if knob.kind == "bool":
        if not isinstance(value, bool):
            raise _invalid(knob.name, value, "give true or false")
        return value
    if knob.kind == "choice":
        if not any(type(value) is type(one) and value == one for one in knob.values):
            raise _invalid(knob.name, value, f"give one of {', '.join(map(repr, knob.values))}")
        chosen: Value = value
        return chosen
    return _number(knob, value)


def _number(knob: EngineKnob, value: Any) -> int | float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _invalid(knob.name, value, "give a number")
    if knob.kind == "int" and not isinstance(value, int):
        raise _invalid(knob.name, value, "give a whole number")
    least, greatest = _edge(knob.least, -_LARGEST), _edge(knob.greatest, _LARGEST)
    if not least <= value <= greatest:
        raise _invalid(knob.name, value, f"give one from {least:g} to {greatest:g}")
    return value if knob.kind == "int" else float(value)


def _told(knob: EngineKnob, *, live: bool) -> dict[str, Any]:
    told: dict[str, Any] = {"type": knob.kind}
    if knob.kind == "choice":
        told["values"] = list(knob.values)
    if knob.kind in ("int", "float"):
        number = int if knob.kind == "int" else float
        edges = (("min", knob.least), ("max", knob.greatest))
        told |= {name: number(edge) for name, edge in edges if edge is not None}
    return told | {"live": live, "changes_answers": knob.changes_answers}


def _edge(given: float | None, default: float) -> float:
    return default if given is None else given


def _invalid(field: str, value: object, fix: str) -> Exception:
    shown = value if isinstance(value, int | float | str | bool) or value is None else repr(value)
    if isinstance(shown, float) and not math.isfinite(shown):
        shown = repr(shown)  # JSON has no infinities
    return invalid_setting(field, shown, f"{field}={value!r:.100}: {fix}")
