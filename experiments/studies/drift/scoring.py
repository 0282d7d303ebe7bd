"""From what an arm lived through to figures: recovery, requests lost, and going back and forth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from autotuner.domain.experiment import Verdict
from autotuner.domain.knobs import Settings
from experiments.studies.drift.playing import Played, Trial
from experiments.studies.drift.scenarios import Phase, Scenario
from experiments.studies.drift.truth import Truth

ENOUGH = 0.95  # of the best attainment that a load allows
Truths = Mapping[str, Truth]  # by the name of the load


@dataclass(frozen=True)
class Reign:
    """From `start` on the incumbent is `settings`."""

    start: float
    settings: Settings


def reigns(start: Settings, began: float, tests: Sequence[Trial]) -> tuple[Reign, ...]:
    """The incumbents one after the other."""
    won = (Reign(test.ended_at, test.treatment) for test in tests if test.promoted)
    return (Reign(began, start), *won)


def in_force(rulers: Sequence[Reign], phase: Phase) -> tuple[Reign, ...]:
    """The incumbents of a phase, the first from its start on."""
    before = [reign for reign in rulers if reign.start <= phase.start]
    later = [reign for reign in rulers if phase.start < reign.start < phase.end]
    return (Reign(phase.start, before[-1].settings), *later)


def recovery_s(rulers: Sequence[Reign], phase: Phase, truth: Truth) -> float | None:
    """From the phase's start until the incumbent is good enough for the rest of it.

    None where its last incumbent is not.
    """
    since: float | None = None
    for reign in in_force(rulers, phase):
        if truth.near(reign.settings) < ENOUGH:
            since = None
        elif since is None:
            since = reign.start
    return None if since is None else since - phase.start


def oscillations(rulers: Sequence[Reign], phase: Phase) -> int:
    """Promotions of settings that had been in force, and were left, in the same phase."""
    seen, back = set[Settings](), 0
    for reign in in_force(rulers, phase):
        back += reign.settings in seen
        seen.add(reign.settings)
    return back


def shaking(scenario: Scenario, truths: Truths) -> tuple[int, ...]:
    """The phases (by number) that the best settings of the phase before are not enough for."""
    return tuple(
        number
        for number in range(1, len(scenario.phases))
        if _truth(scenario, number, truths).near(_truth(scenario, number - 1, truths).optimum)
        < ENOUGH
    )


def lost_share(played: Played, oracle: Played) -> float:
    """Requests that the oracle served in time and this arm did not, of all."""
    lost = sum(good and not played.met.get(at, False) for at, good in oracle.met.items())
    return lost / len(oracle.met)


def figures(
    scenario: Scenario, start: Settings, played: Played, oracle: Played, truths: Truths
) -> dict[str, Any]:
    """One run's figures; attainment and losses by what really served, 0..1."""
    rulers = reigns(start, scenario.phases[0].start, played.tests)
    offered = oracle.met
    phases = []
    for number, phase in enumerate(scenario.phases):
        mine = [at for at in offered if phase.start <= at < phase.end]
        taken = recovery_s(rulers, phase, _truth(scenario, number, truths))
        phases.append(
            {
                "load": phase.load.name,
                "attainment": round(sum(played.met.get(at, False) for at in mine) / len(mine), 4),
                "recovery_min": None if taken is None else round(taken / 60, 1),
            }
        )
    return {
        "goodput": round(sum(played.met.values()) / len(offered), 4),
        "lost": round(lost_share(played, oracle), 4),
        "experiments": len(played.tests),
        "promotions": len(rulers) - 1,
        "oscillations": sum(oscillations(rulers, phase) for phase in scenario.phases),
        "harmful": sum(test.verdict == Verdict.HARMFUL for test in played.tests),
        "phases": phases,
    }


def _truth(scenario: Scenario, number: int, truths: Truths) -> Truth:
    return truths[scenario.phases[number].load.name]
