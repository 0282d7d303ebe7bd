"""What knobs owe each other: comparisons that every settings must meet, as text and as values.

Such as `max_num_seqs <= max_num_batched_tokens`, without which vLLM does not start. Pure.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

from autotuner.domain.errors import InvalidSettingsError

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")
_SIGNS = ("<=", ">=")


@dataclass(frozen=True)
class Constraint:
    """The product of the knobs `left` is at most (`<=`) or at least (`>=`) `right`.

    `right`: a knob or a number.
    """

    left: tuple[str, ...]
    sign: str
    right: str | float

    @property
    def knobs(self) -> tuple[str, ...]:
        """Every knob that is named, once."""
        named = (*self.left, self.right) if isinstance(self.right, str) else self.left
        return tuple(dict.fromkeys(named))

    def holds(self, settings: Mapping[str, int | float | str | bool]) -> bool:
        """Whether `settings` meet it. Words have no size: with one of them it does not hold."""
        sides = [_size(settings[name]) for name in self.left]
        bound = _size(settings[self.right]) if isinstance(self.right, str) else self.right
        product = math.prod(sides)
        return product <= bound if self.sign == "<=" else product >= bound

    def check(self, settings: Mapping[str, int | float | str | bool]) -> None:
        """Raises InvalidSettingsError, naming a knob and the whole constraint, where it is broken.

        Settings that lack one of the knobs say nothing of it.
        """
        if all(name in settings for name in self.knobs) and not self.holds(settings):
            first = self.left[0]
            values = ", ".join(f"{name}={settings[name]}" for name in self.knobs)
            raise InvalidSettingsError(
                first, settings[first], f"{values} break the policy's constraint `{self}`"
            )

    def __str__(self) -> str:
        right = self.right if isinstance(self.right, str) else f"{self.right:g}"
        return f"{' * '.join(self.left)} {self.sign} {right}"


def parse_constraint(text: str) -> Constraint:
    """From `KNOB [* KNOB ...] <= KNOB_OR_NUMBER` (or `>=`); raises ValueError with the fix."""
    sign = next((one for one in _SIGNS if one in text), None)
    left, found, right = text.partition(sign or _SIGNS[0])
    names = tuple(part.strip() for part in left.split("*"))
    bound = right.strip()
    if found and all(map(_NAME.fullmatch, names)):
        if _NAME.fullmatch(bound):
            return Constraint(names, found, bound)
        if _NUMBER.fullmatch(bound):
            return Constraint(names, found, float(bound))
    raise ValueError(
        f"{text!r} is no constraint: write one such as `max_num_seqs <= max_num_batched_tokens` "
        "or `tensor_parallel_size * pipeline_parallel_size <= 8`"
    )


def _size(value: int | float | str | bool) -> float:
    return math.nan if isinstance(value, str | bool) else float(value)
