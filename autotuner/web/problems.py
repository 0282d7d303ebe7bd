"""What is wrong with a request, as values: each tells the field, what was given, and the fix."""

from __future__ import annotations

from dataclasses import dataclass

from autotuner.domain.errors import AutotunerError

_SHOWN_CHARACTERS = 80


@dataclass(frozen=True)
class Problem:
    """One thing to mend. `value` is cut, and free of characters that can't be shown."""

    field: str
    value: str
    fix: str


class RequestError(AutotunerError):
    """A request that is not served; `status` is the HTTP status that tells why."""

    status = 422

    def __init__(self, field: str, value: object, fix: str) -> None:
        self.problem = Problem(field, shown(value), fix)
        super().__init__(f"{field}={self.problem.value}: {fix}")


class UnknownNameError(RequestError):
    """There is nothing of that name."""

    status = 404


class ConflictError(RequestError):
    """It can't be done as things stand now."""

    status = 409


def shown(value: object) -> str:
    """`value` as ASCII text of bounded length: what a client sends must not spoil answer or log."""
    text = ascii(value)
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[: _SHOWN_CHARACTERS - 3]}..."
