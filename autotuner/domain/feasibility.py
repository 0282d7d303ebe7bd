"""Which settings an engine can't run, and which others are then certainly as bad. Pure.

What a knob does to memory is the policy's word (`Knob.memory`). "working": a higher value takes
more while the engine runs. "reserved": a higher value gives the engine a larger share at its start.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from autotuner.domain.knobs import Knob, KnobSpace, Settings, Value


class Fault(StrEnum):
    """Why an engine did not start, or ended. All but PORT are the settings' own."""

    START_MEMORY = "start-memory"  # weights or buffers do not fit
    START_KV = "start-kv"  # weights fit, and no room is left for the KV cache
    RUN_MEMORY = "run-memory"  # out of memory after a healthy start
    KILLED = "killed"  # by the system: the host's memory
    REFUSED = "refused"  # a flag, or flags together, that the server does not take
    PORT = "port"  # its port is taken
    CRASHED = "crashed"  # for another reason
    HUNG = "hung"  # not ready in time, or no answer any more

    @property
    def of_the_settings(self) -> bool:
        return self is not Fault.PORT

    @property
    def in_words(self) -> str:
        """For whoever does not know the word: `start-kv, no room for its KV cache`."""
        return f"{self.value}, {_WORDS[self]}"


_WORDS: Mapping[Fault, str] = {
    Fault.START_MEMORY: "not enough memory at its start",
    Fault.START_KV: "no room for its KV cache",
    Fault.RUN_MEMORY: "out of memory after its start",
    Fault.KILLED: "killed by the system",
    Fault.REFUSED: "the server does not take these settings",
    Fault.PORT: "its port is taken",
    Fault.CRASHED: "it ended by an error",
    Fault.HUNG: "not ready in time, or no answers any more",
}


def fault_of(told: str) -> Fault:
    """The fault that a target tells; one that this version does not know rules out least."""
    return Fault(told) if told in set(Fault) else Fault.CRASHED


@dataclass(frozen=True)
class EngineFault:
    """A failure as the target tells it: `settings` are those of the engine, perhaps not all knobs.

    `at`: when, on the target's clock. `id` tells it from others of the same target.
    """

    at: float
    fault: Fault
    message: str
    settings: Mapping[str, Value]
    id: str = ""

    def concerns(self, settings: Mapping[str, Value]) -> bool:
        """Whether the engine that failed may have had these settings: all that is told agrees."""
        told = [name for name in self.settings if name in settings]
        return bool(told) and all(settings[name] == self.settings[name] for name in told)

    def __str__(self) -> str:
        return f"{self.fault.in_words}: {self.message}" if self.message else self.fault.in_words


@dataclass(frozen=True)
class Infeasible:
    """Settings whose engine failed for their own fault; `told` is the target's word on it."""

    settings: Settings
    fault: Fault
    told: str = ""

    def __str__(self) -> str:
        return f"{self.fault.in_words}: {self.told}" if self.told else self.fault.in_words


def ruled_out(space: KnobSpace, known: Iterable[Infeasible], candidate: Settings) -> str | None:
    """Why `candidate` certainly fails as well, given what is `known` to have failed; else None.

    Out of memory while serving (or killed for it) rules out all that takes at least as much at
    both times. Out of memory at the start rules out what takes as much, whatever the share: the
    weights' buffers do not shrink with it. No room for the KV cache rules out what takes as much
    from a share no larger. Any other fault rules out nothing but the settings themselves.
    """
    for failed in known:
        if candidate == failed.settings:
            return f"{candidate!r}: its engine failed ({failed})"
        if _as_bad(space, failed, candidate):
            return (
                f"{candidate!r} takes at least as much memory as {failed.settings!r}, "
                f"whose engine failed ({failed})"
            )
    return None


def _as_bad(space: KnobSpace, failed: Infeasible, candidate: Settings) -> bool:
    rule = _RULES.get(failed.fault)
    if rule is None or set(failed.settings) != set(candidate):
        return False
    knobs = {knob.name: knob for knob in space}
    if set(knobs) != set(candidate):
        return False  # failed under another policy: what its other knobs were is not known
    return all(_agrees(knobs[name], rule, failed.settings[name], candidate[name]) for name in knobs)


def _agrees(knob: Knob, rule: Mapping[str, str], failed: Value, asked: Value) -> bool:
    wanted = rule.get(knob.memory or "", "same")
    if wanted == "same" or isinstance(failed, str) or isinstance(asked, str):
        return asked == failed
    if wanted == "more":
        return asked >= failed
    return asked <= failed if wanted == "less" else True


# What a candidate's knob must be, against the failed settings', for the same end: by its memory.
_RULES: Mapping[Fault, Mapping[str, str]] = {
    Fault.RUN_MEMORY: {"working": "more", "reserved": "more"},
    Fault.KILLED: {"working": "more", "reserved": "more"},
    Fault.START_MEMORY: {"working": "more", "reserved": "any"},
    Fault.START_KV: {"working": "more", "reserved": "less"},
}
