"""The worker's knobs: what each accepts, and an error with the knob, the value and the fix."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

SchedulePolicy = Literal["fcfs", "length-grouped"]
SCHEDULE_POLICIES: tuple[SchedulePolicy, ...] = ("fcfs", "length-grouped")


class InvalidSettingError(ValueError):
    """A knob that does not exist or a value that it does not take."""

    def __init__(self, field: str, value: object, fix: str) -> None:
        super().__init__(f"{field}={value!r}: {fix}")
        self.field, self.value = field, value


@dataclass(frozen=True)
class Limits:
    """What this worker can hold: the upper bounds of its knobs follow from it."""

    kv_slots: int
    max_model_len: int
    max_num_batched_tokens: int = 8192


@dataclass(frozen=True)
class WorkerSettings:
    """One full assignment of the live knobs; applied between two engine steps."""

    max_num_seqs: int = 32
    batch_timeout_ms: int = 0
    max_num_batched_tokens: int = 512
    schedule_policy: SchedulePolicy = "fcfs"

    def updated(self, changes: Mapping[str, Any], limits: Limits) -> WorkerSettings:
        """These settings with `changes` applied; raises InvalidSettingError and changes nothing."""
        known = {f.name for f in fields(self)}
        for name, value in changes.items():
            if name not in known:
                raise InvalidSettingError(
                    name, value, f"unknown knob; known: {', '.join(sorted(known))}"
                )
            _check(name, value, limits)
        return replace(self, **changes)


def int_ranges(limits: Limits) -> dict[str, tuple[int, int]]:
    """Inclusive (least, greatest) of each whole-number knob."""
    return {
        "max_num_seqs": (1, limits.kv_slots),
        "batch_timeout_ms": (0, 100),
        "max_num_batched_tokens": (16, limits.max_num_batched_tokens),
    }


def _check(name: str, value: object, limits: Limits) -> None:
    if name == "schedule_policy":
        if value not in SCHEDULE_POLICIES:
            raise InvalidSettingError(name, value, f"give one of {', '.join(SCHEDULE_POLICIES)}")
        return
    least, greatest = int_ranges(limits)[name]
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= greatest:
        raise InvalidSettingError(name, value, f"give a whole number from {least} to {greatest}")


def capabilities(limits: Limits) -> dict[str, dict[str, Any]]:
    """Each knob's type, range and whether it changes live: what `GET /admin/settings` tells."""
    common = {"live": True, "changes_answers": False}
    told: dict[str, dict[str, Any]] = {
        name: {"type": "int", "min": least, "max": greatest, **common}
        for name, (least, greatest) in int_ranges(limits).items()
    }
    told["schedule_policy"] = {"type": "choice", "values": list(SCHEDULE_POLICIES), **common}
    return told
