"""A silence: for a while, some alerts are kept in the history but not told to people."""

from __future__ import annotations

from dataclasses import dataclass

from autotuner.domain.forecasts import Alert


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

    def mutes(self, alert: Alert, now: float) -> bool:
        """Whether `alert` is not to be told at `now`."""
        return (
            self.starts_at <= now < self.ends_at
            and self.target in ("", alert.target)
            and self.alert in ("", alert.name)
            and set(self.labels) <= set(alert.labels)
        )
