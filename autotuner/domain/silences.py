"""A silence: for a while, some alerts are kept in the history but not told to people."""

from __future__ import annotations

import re
from dataclasses import dataclass

from autotuner.domain.errors import ConfigError
from autotuner.domain.forecasts import Alert

_UNIT_S = {"w": 604_800.0, "d": 86_400.0, "h": 3600.0, "m": 60.0, "s": 1.0}
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?[wdhms])+")
_PART = re.compile(r"(\d+(?:\.\d+)?)([wdhms])")


@dataclass(frozen=True)
class Silence:
    """Holds from `starts_at` to before `ends_at` (UTC epoch s) for alerts that match.

    `target` and `alert` (the rule's name) are exact, empty ones match all; each of `labels` must be
    on the alert with that value. `id` is 0 until it is stored.
    """

    starts_at: float
    ends_at: float
    author: str
    comment: str
    target: str = ""
    alert: str = ""
    labels: tuple[tuple[str, str], ...] = ()
    id: int = 0

    @property
    def matches_all(self) -> bool:
        """Whether there is no alert that it does not match."""
        return not (self.target or self.alert or self.labels)

    def state(self, now: float) -> str:
        """Where it stands at `now`: waits, active or ended."""
        if self.ends_at <= now:
            return "ended"
        return "active" if self.starts_at <= now else "waits"

    def mutes(self, alert: Alert, now: float) -> bool:
        """Whether `alert` is not to be told at `now`."""
        return (
            self.starts_at <= now < self.ends_at
            and self.target in ("", alert.target)
            and self.alert in ("", alert.name)
            and set(self.labels) <= set(alert.labels)
        )


def duration_s(text: str, field: str = "duration") -> float:
    """The seconds of `90s`, `30m`, `2h`, `1d`, `1w`, or several such in a row (`1h30m`).

    Raises ConfigError, which names `field`, for anything else, a number without a unit, and a
    length of 0.
    """
    told = text.strip()
    if _DURATION.fullmatch(told) is None:
        wrong = "a unit is missing" if re.fullmatch(r"\d+(\.\d+)?", told) else "no duration"
        raise ConfigError(f"{field}={text!r}: {wrong}: give 90s, 30m, 2h, 1h30m, 1d or 1w")
    length_s = sum(float(figure) * _UNIT_S[unit] for figure, unit in _PART.findall(told))
    if length_s <= 0:
        raise ConfigError(f"{field}={text!r}: no time at all: give more than 0")
    return length_s
