"""How much failure the availability objective still bears, and how fast it is used up. Pure.

An objective of 99.95% bears one failed request in 2000: over the window that is the error budget.
Burn rates and their windows are those of the SRE workbook, chapter 5 "Alerting on SLOs", section 6
"Multiwindow, Multi-Burn-Rate Alerts" (Beyer et al., Google, 2018), table 5-8: of a 30-day budget
14.4 for an hour spends 2%, 6 for six hours 5%, 1 for three days 10%.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from autotuner.domain.availability import HOUR_S, MINUTE_S, NOTHING, Ledger, Tally

DAY_S = 86400.0
# Chosen: so many failed requests make a trend. A budget that bears fewer is not judged yet, and a
# window in which fewer failed is no burn, or one error in the night would spend the month's budget.
LEAST_FAILED = 10
PRESENT = "1h"  # the window of the burn rate "at present"


@dataclass(frozen=True)
class Burn:
    """Too fast where both windows burn at more than `factor`: the short one ends the alert soon."""

    name: str
    long: str
    short: str
    factor: float


WINDOWS_S: Mapping[str, float] = {
    "5m": 5 * MINUTE_S,
    "30m": 30 * MINUTE_S,
    "1h": HOUR_S,
    "6h": 6 * HOUR_S,
    "3d": 3 * DAY_S,
}
BURNS = (
    Burn("error_budget_burn_1h", "1h", "5m", 14.4),
    Burn("error_budget_burn_6h", "6h", "30m", 6.0),
    Burn("error_budget_burn_3d", "3d", "6h", 1.0),
)
REMAINING = "error_budget_remaining"
BUDGET_SERIES = frozenset((REMAINING, *(burn.name for burn in BURNS)))


@dataclass(frozen=True)
class AvailabilityGoal:
    """`objective`: the share of requests to be served over `window_s`, above 0 and below 1.

    No test starts while less than `reserve` (0..1) of the budget is left.
    """

    objective: float = 0.9995
    window_s: float = 30 * DAY_S
    reserve: float = 0.1

    @property
    def borne_share(self) -> float:
        """The share of requests that may fail."""
        return 1.0 - self.objective

    @property
    def min_requests(self) -> int:
        """With fewer the budget bears less than LEAST_FAILED failures, and is not judged."""
        return math.ceil(round(LEAST_FAILED / self.borne_share, 6))

    @property
    def kept_s(self) -> float:
        """How far back counts are needed."""
        return max(self.window_s, *WINDOWS_S.values())


@dataclass(frozen=True)
class ErrorBudget:
    """The budget at one moment: what is counted in the goal's window, and in shorter ones by name.

    Shares are of the whole budget: 1 is untouched, 0 spent, below 0 overdrawn.
    """

    goal: AvailabilityGoal
    whole: Tally
    windows: Mapping[str, Tally]

    @property
    def availability(self) -> float:
        """The share of requests that were served, 0..1; NaN where none was asked."""
        return 1.0 - self.whole.failed_share

    @property
    def borne(self) -> float:
        """Requests that may fail of those that were asked in the window."""
        return self.goal.borne_share * self.whole.asked

    @property
    def judged(self) -> bool:
        """Whether enough was asked for the budget to mean something."""
        return self.whole.asked >= self.goal.min_requests

    @property
    def remaining(self) -> float:
        """The share that is left; NaN while the budget is not judged."""
        return 1.0 - self.whole.bad / self.borne if self.judged else math.nan

    @property
    def nearly_spent(self) -> bool:
        """Whether less than the reserve is left; never while the budget is not judged."""
        return self.remaining < self.goal.reserve

    def availability_in(self, window: str) -> float:
        """As `availability`, of a window of WINDOWS_S."""
        return 1.0 - self.windows.get(window, NOTHING).failed_share

    def burn_rate(self, window: str) -> float:
        """How many times as fast as the objective bears a window failed; NaN without requests."""
        return self.windows.get(window, NOTHING).failed_share / self.goal.borne_share

    def sustained(self, burn: Burn) -> float:
        """The lower burn rate of both windows: above a factor only where both are.

        0 where one of them had no request, or fewer than LEAST_FAILED failed in the long one.
        """
        if self.windows.get(burn.long, NOTHING).bad < LEAST_FAILED:
            return 0.0
        rates = (self.burn_rate(burn.long), self.burn_rate(burn.short))
        return 0.0 if any(math.isnan(rate) for rate in rates) else min(rates)

    @property
    def lasts_s(self) -> float:
        """Seconds until nothing is left at the burn rate of the last hour; inf where none burns.

        A burn rate of 1 uses the whole budget in one window. That failures of before leave the
        window meanwhile is not reckoned in, so that it lasts at least as long. NaN while the
        budget is not judged.
        """
        rate = self.burn_rate(PRESENT)
        if not self.judged or math.isnan(rate) or rate <= 0:
            return math.inf if self.judged else math.nan
        return max(0.0, self.remaining) * self.goal.window_s / rate

    def downtime(self, restarts: float, restart_s: float) -> str | None:
        """Why so many restarts of that length must not be planned; None where they may be.

        By what failed per second of the restarts in the window; where none was seen they cost
        nothing yet. The reserve is not for them.
        """
        seen = self.whole
        if not self.judged or seen.restart_s <= 0:
            return None
        cost = restarts * restart_s * seen.restart_failed / seen.restart_s
        spare = max(0.0, (self.remaining - self.goal.reserve) * self.borne)
        if cost <= spare:
            return None
        return (
            f"its {restarts:.0f} restarts of {restart_s:.0f} s would cost about {cost:.0f} failed "
            f"requests, as those of the last {self._span} did, and the error budget spares "
            f"{spare:.0f}: {self.words()}"
        )

    def series(self) -> dict[str, float]:
        """What alert rules look at, by name; what can't be judged is absent."""
        found = {burn.name: self.sustained(burn) for burn in BURNS}
        return found | ({REMAINING: self.remaining} if self.judged else {})

    # ---- in words
    @property
    def window_name(self) -> str:
        """Such as `30d`."""
        return f"{self.goal.window_s / DAY_S:.4g}d"

    def words(self) -> str:
        """What is left of the budget, with its figures."""
        counted = f"{self.whole.bad:.0f} of {self.whole.asked:.0f} requests failed in {self._span}"
        if not self.judged:
            return f"not judged below {self.goal.min_requests} requests ({counted})"
        left = self.remaining
        standing = f"{100 * left:.1f}% is left" if left >= 0 else f"overdrawn by {-100 * left:.1f}%"
        return f"{standing} ({counted}, {self.borne:.0f} may at {_percent(self.goal.objective)})"

    def sentence(self) -> str:
        """What is left, and how long that lasts where it is known."""
        return "; ".join(filter(None, (self.words(), self._pace())))

    def figures(self) -> dict[str, Any]:
        """All of it as JSON has it: None where there is no number, or none with an end."""
        return {
            "objective": self.goal.objective,
            "window_s": self.goal.window_s,
            "reserve": self.goal.reserve,
            "min_requests": self.goal.min_requests,
            "requests": self.whole.asked,
            "failed": self.whole.bad,
            "lost": self.whole.lost,
            "availability": _finite(self.availability),
            "remaining": _finite(self.remaining),
            "lasts_s": _finite(self.lasts_s),
            "burn_rates": {window: _finite(self.burn_rate(window)) for window in WINDOWS_S},
            "words": self.sentence(),
        }

    def _pace(self) -> str:
        if not self.judged or self.remaining <= 0:
            return ""
        if math.isinf(self.lasts_s):
            return "nothing failed in the last hour"
        days, hours = self.lasts_s / DAY_S, self.lasts_s / HOUR_S
        length = f"{days:.1f} days" if days >= 2 else f"{hours:.1f} hours"
        return f"at the last hour's pace it lasts {length}"

    def refusal(self) -> str | None:
        """Why no test may start; None where one may."""
        if not self.nearly_spent:
            return None
        reserve = _percent(self.goal.reserve)
        return (
            f"no test starts while less than {reserve} of the error budget is left: {self.words()}"
        )

    @property
    def _span(self) -> str:
        days = self.goal.window_s / DAY_S
        return f"{days:.4g} days" if days >= 1 else f"{self.goal.window_s / MINUTE_S:.4g} minutes"


def budget_of(ledger: Ledger, goal: AvailabilityGoal, now: float) -> ErrorBudget:
    """The budget at `now` (epoch s) by what is counted."""
    windows = {name: ledger.window(now, length_s) for name, length_s in WINDOWS_S.items()}
    return ErrorBudget(goal, ledger.window(now, goal.window_s), windows)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _percent(share: float) -> str:
    return f"{100 * share:.6g}%"
