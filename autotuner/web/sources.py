"""Where page and API read from: the history, and what the daemons of this process saw last."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from autotuner.config import TargetConfig
from autotuner.domain.error_budget import ErrorBudget
from autotuner.domain.goals import Goal
from autotuner.domain.slo import SLO
from autotuner.history.store import History
from autotuner.service import Service
from autotuner.web.problems import UnknownNameError


@dataclass(frozen=True)
class Glimpse:
    """What a daemon of this process last saw of its target; `at` is None before its first cycle."""

    values: Mapping[str, float]
    at: float | None
    slo: SLO
    goal: Goal
    budget: ErrorBudget | None = None


Live = Callable[[str], Glimpse | None]


def nobody(_target: str) -> None:
    """No daemon runs in this process."""


@dataclass(frozen=True)
class Sources:
    """`live` tells what was last seen of a target, None where no daemon here drives it.

    `late_after_s`: a target without a word for so long is late. `configured`: the targets of the
    configuration in force, by whose policies declared tests are checked.
    """

    history: History
    live: Live = nobody
    late_after_s: float = 30.0
    configured: Callable[[], Sequence[TargetConfig]] = tuple

    def expect(self, target: str) -> None:
        """Raises UnknownNameError, which names those there are, for a target that nobody knows."""
        known = self.history.targets()
        if target not in known:
            names = ", ".join(known) or "no target yet"
            raise UnknownNameError("target", target, f"unknown; there is {names}")


def sources_of(
    history: History, service: Service, configured: Callable[[], Sequence[TargetConfig]]
) -> Sources:
    """The sources of a process that runs `service`."""

    def live(target: str) -> Glimpse | None:
        if service.leading is not None and not service.leading.leads():
            return None  # what it saw when it led is no longer so
        for daemon in service.daemons:
            if daemon.name == target:
                rules = daemon.tuner.rules
                at = service.last_ok.get(target)
                kept = daemon.availability
                budget = kept.budget if kept is not None else None
                return Glimpse(daemon.watch.values, at, rules.slo, rules.goal, budget)
        return None

    return Sources(history, live, max(5 * service.cycle_s, 30.0), configured)
