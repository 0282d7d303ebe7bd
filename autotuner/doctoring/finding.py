"""What one check found: a value, and how findings are counted."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """OK; WARN: the daemon runs, but something is missing; FAIL: it can't do its work."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True)
class Finding:
    """`check` names what was looked at, `told` what was found, `fix` what to do about it."""

    check: str
    level: Level
    told: str
    fix: str = ""

    def as_dict(self) -> dict[str, str | None]:
        return {
            "check": self.check,
            "level": self.level.value,
            "told": self.told,
            "fix": self.fix or None,
        }


def well(check: str, told: str) -> Finding:
    return Finding(check, Level.OK, told)


def warned(check: str, told: str, fix: str) -> Finding:
    return Finding(check, Level.WARN, told, fix)


def failed(check: str, told: str, fix: str = "") -> Finding:
    """`fix` may stand in `told` already, as in the errors that autotuner raises."""
    return Finding(check, Level.FAIL, told, fix)


def counts(findings: Iterable[Finding]) -> dict[str, int]:
    """How many there are of each level."""
    found = list(findings)
    return {level.value: sum(one.level is level for one in found) for level in Level}
