"""What is known of one kind of server. Values only; reading it over HTTP is the client's job."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from autotuner.proxy.engines.flags import Flag
from autotuner.proxy.ports import EngineKnob, Value

KindName = Literal["vllm", "sglang", "openai"]


@dataclass(frozen=True)
class Kind:
    """`health_paths`: the first that is there counts. `info_paths` answer JSON with settings, tried
    in turn: names changed between versions.

    `info_metric` is a metric whose labels carry settings. `port_word` gives the port where a
    command does not. `extra_body` goes with each warm-up completion.
    """

    name: KindName
    flags: Mapping[str, Flag] = field(default_factory=dict)
    health_paths: tuple[str, ...] = ("/health",)
    info_paths: tuple[str, ...] = ()
    version_paths: tuple[str, ...] = ()
    info_metric: str = ""
    port_word: str = "--port"
    extra_body: Mapping[str, object] = field(default_factory=dict)


def table(*flags: Flag) -> dict[str, Flag]:
    return {flag.knob.name: flag for flag in flags}


def whole(
    name: str, least: int, greatest: int, *words: str, answers: bool = False, told: str = ""
) -> Flag:
    """A flag with an int; `words` are further spellings."""
    knob = EngineKnob(name, "int", least, greatest, changes_answers=answers)
    return Flag(knob, (_word(name), *words), told_as=(told,) if told else ())


def real(name: str, least: float, greatest: float, told: str = "") -> Flag:
    knob = EngineKnob(name, "float", least, greatest)
    return Flag(knob, (_word(name),), told_as=(told,) if told else ())


def choice(
    name: str, *values: Value, words: tuple[str, ...] = (), answers: bool = False, told: str = ""
) -> Flag:
    """A flag with one of these values; without any, the configuration must give them."""
    knob = EngineKnob(name, "choice", values=values, changes_answers=answers)
    return Flag(knob, (_word(name), *words), told_as=(told,) if told else ())


def switch(name: str, *, negation: str = "", answers: bool = False) -> Flag:
    return Flag(EngineKnob(name, "bool", changes_answers=answers), (_word(name),), negation)


def _word(name: str) -> str:
    return "--" + name.replace("_", "-")
