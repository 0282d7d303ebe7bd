"""What a target can do with each knob, and whether a policy asks for more than that."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from autotuner.domain.errors import ConfigError
from autotuner.domain.knobs import Knob, KnobSpace, Value


@dataclass(frozen=True)
class IntRange:
    """Whole numbers from `least` to `greatest`, both included."""

    least: int
    greatest: int

    def accepts(self, value: Value) -> bool:
        whole = isinstance(value, int) and not isinstance(value, bool)
        return whole and self.least <= float(value) <= self.greatest

    def describe(self) -> str:
        return f"whole numbers from {self.least} to {self.greatest}"


@dataclass(frozen=True)
class FloatRange:
    """Numbers from `least` to `greatest`, both included."""

    least: float
    greatest: float

    def accepts(self, value: Value) -> bool:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        return number and self.least <= float(value) <= self.greatest

    def describe(self) -> str:
        return f"numbers from {self.least:g} to {self.greatest:g}"


@dataclass(frozen=True)
class Choices:
    """One of a few values; `True` is not `1`."""

    values: tuple[Value, ...]

    def accepts(self, value: Value) -> bool:
        return any(value == known and type(value) is type(known) for known in self.values)

    def describe(self) -> str:
        return f"one of {', '.join(map(str, self.values))}"


Accepted = IntRange | FloatRange | Choices


@dataclass(frozen=True)
class Capability:
    """What a target accepts for a knob, whether it changes live and whether answers change."""

    accepted: Accepted
    live: bool = True
    changes_answers: bool = False


Capabilities = Mapping[str, Capability]


def check_space(space: KnobSpace, capabilities: Capabilities) -> None:
    """Raises ConfigError, naming the knob and the fix, unless the target can do every level.

    A knob that changes answers on the target must be declared so in the policy, because only then
    does the quality guardrail act; a knob that needs a rebuild must not be declared live.
    """
    for knob in space:
        capability = capabilities.get(knob.name)
        if capability is None:
            raise ConfigError(
                f"knobs.{knob.name}: the target does not have this knob (it has "
                f"{', '.join(sorted(capabilities)) or 'none'}): take it out of the policy"
            )
        _check_levels(knob, capability)
        _check_flags(knob, capability)


def _check_levels(knob: Knob, capability: Capability) -> None:
    if knob.open:
        return  # its values come and go while the target runs: it says so when one is asked for
    refused = [level for level in knob.levels if not capability.accepted.accepts(level)]
    if refused:
        raise ConfigError(
            f"knobs.{knob.name}.levels={list(knob.levels)}: the target refuses {refused}; "
            f"it accepts {capability.accepted.describe()}"
        )


def _check_flags(knob: Knob, capability: Capability) -> None:
    if knob.live and not capability.live:
        raise ConfigError(
            f"knobs.{knob.name}.live=True: the target changes it only by a rebuild; "
            "set live: false or take the knob out of the policy"
        )
    if capability.changes_answers and not knob.changes_answers:
        raise ConfigError(
            f"knobs.{knob.name}.changes_answers=False: on this target it changes answers; "
            "set changes_answers: true so that answer quality is guarded"
        )
