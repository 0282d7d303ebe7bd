"""Knobs, settings and the space they span."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Literal

from autotuner.domain.constraints import Constraint
from autotuner.domain.errors import InvalidSettingsError

Value = int | float | str | bool


@dataclass(frozen=True)
class Knob:
    """A tunable parameter with its ordered levels.

    `live` knobs change on a running target; others need a rebuild. `changes_answers` says whether
    the quality guardrail has to be paid for. `max_step` bounds how many levels one experiment
    may move it. `memory`: what raising it takes memory for, None for nothing that is known:
    `working` at run time (larger batches), `reserved` at the start (the engine's share).
    `open`: any other text is a level as well, and all texts have the first place; what there is
    the target knows. Only people move such a knob (`KnobSpace.held`).
    """

    name: str
    levels: tuple[Value, ...]
    live: bool = True
    changes_answers: bool = False
    max_step: int | None = None
    memory: Literal["working", "reserved"] | None = None
    open: bool = False

    def index(self, value: Value) -> int:
        """The position of `value` among the levels; raises InvalidSettingsError."""
        for position, level in enumerate(self.levels):
            if level == value and isinstance(level, str) == isinstance(value, str):
                return position
        if self.open and isinstance(value, str) and value:
            return 0
        raise InvalidSettingsError(self.name, value, f"give one of {list(self.levels)}")

    def nearest_index(self, value: Value) -> int:
        """The level nearest to `value` (settings made by people may lie between levels)."""
        if isinstance(value, str) or isinstance(self.levels[0], str):
            return self.index(value)
        return min(range(len(self.levels)), key=lambda i: abs(float(self.levels[i]) - float(value)))


class Settings(Mapping[str, Value]):
    """One full assignment of all knobs: immutable, hashable, identified by its content."""

    __slots__ = ("_values", "digest")

    def __init__(self, values: Mapping[str, Value]) -> None:
        self._values = MappingProxyType(dict(sorted(values.items())))
        self.digest = hashlib.sha256(self.as_json().encode()).hexdigest()[:16]

    def as_json(self) -> str:
        """Canonical JSON: keys sorted, no spaces."""
        return json.dumps(dict(self._values), separators=(",", ":"), sort_keys=True)

    def with_values(self, **changes: Value) -> Settings:
        return Settings({**self._values, **changes})

    def changed_from(self, other: Mapping[str, Value]) -> dict[str, Value]:
        """The knobs whose value differs from `other`'s, with this side's value."""
        return {k: v for k, v in self._values.items() if k not in other or other[k] != v}

    def __getitem__(self, name: str) -> Value:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __hash__(self) -> int:
        return hash(self.digest)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Settings) and self.digest == other.digest

    def __repr__(self) -> str:
        return f"Settings({', '.join(f'{k}={v}' for k, v in self._values.items())})"

    def __reduce__(self) -> tuple[type[Settings], tuple[dict[str, Value]]]:
        return (Settings, (dict(self._values),))


@dataclass(frozen=True)
class KnobSpace:
    """All knobs that the policy lets us tune, and what they owe each other."""

    knobs: tuple[Knob, ...]
    constraints: tuple[Constraint, ...] = ()

    def __iter__(self) -> Iterator[Knob]:
        return iter(self.knobs)

    def __len__(self) -> int:
        return len(self.knobs)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(knob.name for knob in self.knobs)

    def held(self, settings: Mapping[str, Value]) -> KnobSpace:
        """The same space for who thinks of candidates: open knobs stay as `settings` have them."""
        if not any(knob.open for knob in self.knobs):
            return self
        knobs = tuple(
            replace(knob, levels=(settings[knob.name],)) if knob.open else knob
            for knob in self.knobs
        )
        return replace(self, knobs=knobs)

    def size(self) -> int:
        """How many different settings there are, those that break a constraint among them."""
        total = 1
        for knob in self.knobs:
            total *= len(knob.levels)
        return total

    def restrict(self, settings: Mapping[str, Value]) -> Settings:
        """The tuned knobs' part of what a target reports (it may have more knobs than we tune).

        Raises InvalidSettingsError where the target lacks a knob of the policy.
        """
        for name in self.names:
            if name not in settings:
                raise InvalidSettingsError(
                    name, None, "the target does not have this knob: take it out of the policy"
                )
        return Settings({name: settings[name] for name in self.names})

    def validate(self, settings: Mapping[str, Value]) -> None:
        """Raises InvalidSettingsError unless every knob is there with one of its levels, and all
        constraints hold.
        """
        for knob in self.knobs:
            if knob.name not in settings:
                raise InvalidSettingsError(
                    knob.name, None, f"missing: give one of {list(knob.levels)}"
                )
            knob.index(settings[knob.name])
        for name in settings:
            if name not in self.names:
                raise InvalidSettingsError(
                    name, settings[name], f"unknown knob; known: {list(self.names)}"
                )
        for constraint in self.constraints:
            constraint.check(settings)

    def indices(self, settings: Mapping[str, Value]) -> tuple[int, ...]:
        """The nearest level's position per knob, in the space's order."""
        return tuple(knob.nearest_index(settings[knob.name]) for knob in self.knobs)

    def at(self, indices: tuple[int, ...]) -> Settings:
        """The settings at these level positions."""
        return Settings({k.name: k.levels[i] for k, i in zip(self.knobs, indices, strict=True)})

    def within_step(self, start: Mapping[str, Value], end: Mapping[str, Value]) -> bool:
        """Whether `end` is inside every knob's `max_step` seen from `start`."""
        pairs = zip(self.knobs, self.indices(start), self.indices(end), strict=True)
        return all(k.max_step is None or abs(b - a) <= k.max_step for k, a, b in pairs)

    def clip_step(self, start: Mapping[str, Value], end: Mapping[str, Value]) -> Settings:
        """`end` moved back towards `start` until it lies within every knob's `max_step`."""
        clipped = []
        for knob, a, b in zip(self.knobs, self.indices(start), self.indices(end), strict=True):
            reach = len(knob.levels) if knob.max_step is None else knob.max_step
            clipped.append(max(a - reach, min(a + reach, b)))
        return self.at(tuple(clipped))
