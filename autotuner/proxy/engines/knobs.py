"""Which flags a server of some kind has, and whether a value is one of a flag's. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from autotuner.proxy.engines.flags import Flag
from autotuner.proxy.engines.kinds.base import Kind, KindName
from autotuner.proxy.engines.kinds.openai import OPENAI
from autotuner.proxy.engines.kinds.sglang import SGLANG
from autotuner.proxy.engines.kinds.vllm import VLLM
from autotuner.proxy.ports import EngineKnob, Value

_KINDS: Mapping[KindName, Kind] = {"vllm": VLLM, "sglang": SGLANG, "openai": OPENAI}


def kind_of(name: KindName) -> Kind:
    return _KINDS[name]


def flags_with(kind: Kind, own: Mapping[str, Flag]) -> dict[str, Flag]:
    """The kind's flags and the operator's own; a known one keeps its spellings with a new range."""
    merged = dict(kind.flags)
    for name, flag in own.items():
        known = merged.get(name)
        if known is None:
            merged[name] = flag
        else:
            words = flag.words if flag.words[0] not in known.words else known.words
            merged[name] = Flag(flag.knob, words, flag.negation or known.negation, known.told_as)
    return merged


def check_value(knob: EngineKnob, value: Value) -> None:
    """Raises ValueError naming knob, value and fix."""
    if problem := _problem(knob, value):
        raise ValueError(f"settings.{knob.name}={value!r}: {problem}")


def _problem(knob: EngineKnob, value: Value) -> str | None:
    if knob.kind == "bool":
        return None if isinstance(value, bool) else "give true or false"
    if knob.kind == "choice":
        if not knob.values:
            return "its values depend on your model: list them under knobs"
        return None if value in knob.values else f"give one of {', '.join(map(str, knob.values))}"
    whole = knob.kind == "int"
    if isinstance(value, bool) or not isinstance(value, int if whole else int | float):
        return "give a whole number" if whole else "give a number"
    least, greatest = knob.least, knob.greatest
    if (least is not None and value < least) or (greatest is not None and value > greatest):
        return f"give {least:g} to {greatest:g}"
    return None
