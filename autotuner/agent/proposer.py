"""Proposes the next candidate: policy walks in a calibrated model, then a screening by simulation.

It must not know how a candidate is tested or applied, and it has no side effects.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from autotuner.agent.artifact import AgentArtifact
from autotuner.agent.calibration import Calibration, calibrate
from autotuner.agent.candidates import Admissible
from autotuner.agent.game import Game
from autotuner.agent.ladder import SpaceLadder
from autotuner.agent.latencies import SLOTable
from autotuner.agent.policy import Policy
from autotuner.agent.schedule import Schedule
from autotuner.agent.screening import Scenario, Trial, try_candidates
from autotuner.agent.stepmodel import Ints, StepTable
from autotuner.agent.systems import Systems, points_of_sample
from autotuner.agent.traffic import SampleMix
from autotuner.domain.errors import AutotunerError
from autotuner.domain.knobs import Settings
from autotuner.domain.ports import Proposal, ProposalContext, Workload


class MovePolicy(Protocol):
    """Maps observations [environment, feature] to random moves [environment, knob] in −1, 0, 1."""

    def sample(self, observation: NDArray[np.float32], rng: np.random.Generator) -> Ints: ...


@dataclass(frozen=True)
class SearchEffort:
    """How hard to look: bounds the time of a proposal (some seconds of one core)."""

    walks: int = 24
    walk_steps: int = 8
    shortlist: int = 28  # candidates that reach the first screening
    finalists: int = 3
    first_repeats: int = 3
    final_repeats: int = 12


@dataclass(frozen=True)
class _View:
    """The context made usable: what the walks and the screening need."""

    context: ProposalContext
    ladder: SpaceLadder
    calibration: Calibration
    systems: Systems  # one environment
    scenario: Scenario


class ModelProposer:
    """Walks `policy` through a model of the target and screens where it went.

    `min_gain`: the least predicted gain in attainment (points, 0..1) worth an experiment.
    """

    def __init__(
        self,
        policy: MovePolicy,
        name: str,
        version: str | None = None,
        *,
        screen: bool = True,
        min_gain: float = 0.02,
        effort: SearchEffort | None = None,
    ) -> None:
        self._policy, self._name, self._version = policy, name, version
        self._screen, self._min_gain = screen, min_gain
        self._effort = SearchEffort() if effort is None else effort

    def propose(self, context: ProposalContext) -> Proposal | None:
        """The best candidate when its predicted gain is worth a test, else None."""
        try:
            view = _view(context)
        except AutotunerError:
            return None  # the incumbent does not fit the space: nothing can be said
        if view is None:
            return None
        rng = np.random.default_rng(abs(int(context.seed)))
        walked = self._walk(view, rng)
        if not walked:
            return None
        if not self._screen:
            return self._unscreened(view, *walked[0])
        return self._screened(view, [settings for settings, _ in walked], rng)

    def _walk(self, view: _View, rng: np.random.Generator) -> list[tuple[Settings, float]]:
        """Admissible settings that the walks met, with the model's gain, best first."""
        n = self._effort.walks
        rows = np.zeros(n, dtype=np.int64)
        ladder = view.ladder.ladder.take(rows)
        start = np.tile(view.ladder.start, (n, 1))
        game = Game(view.systems.take(rows), ladder, start, rng=rng)
        before = float(game.prediction.attainment[0])
        met: dict[tuple[int, ...], float] = {}
        for _ in range(self._effort.walk_steps):
            game.step(self._policy.sample(game.observation(), rng))
            for place, value in zip(
                game.positions.tolist(), game.prediction.attainment, strict=True
            ):
                met[tuple(place)] = float(value) - before
        admissible = Admissible(view.context)
        found = [(view.ladder.settings(place), gain) for place, gain in met.items()]
        allowed = [pair for pair in found if admissible(pair[0])]
        changed = view.context.incumbent
        # Few changes first among equals: a small change is the easier one to explain.
        allowed.sort(key=lambda pair: (-round(pair[1], 2), len(pair[0].changed_from(changed))))
        return allowed[: self._effort.shortlist]

    def _unscreened(self, view: _View, settings: Settings, gain: float) -> Proposal | None:
        if not gain >= self._min_gain:
            return None
        reason = (
            f"{_seen(view)}; {_change(view, settings)}: the analytic model predicts {gain:+.3f}"
        )
        return Proposal(settings, self._name, reason, gain, self._version)

    def _screened(
        self, view: _View, candidates: list[Settings], rng: np.random.Generator
    ) -> Proposal | None:
        effort, seeds = self._effort, rng.integers(2**31, size=2)
        first = _try(view, candidates, effort.first_repeats, int(seeds[0]), False)
        first.sort(key=lambda trial: -trial.gain)
        finalists = [candidates[trial.index] for trial in first[: effort.finalists]]
        finalists += _simpler(view, finalists)
        final = _try(view, finalists, effort.final_repeats, int(seeds[1]), True)
        incumbent = view.context.incumbent

        def worth(trial: Trial) -> float:
            return trial.gain - 0.003 * len(finalists[trial.index].changed_from(incumbent))

        best = max(final, key=worth)
        if best.gain < self._min_gain or best.low <= 0:
            return None
        screened = len(candidates) + len(finalists) - min(len(first), effort.finalists)
        reason = (
            f"{_seen(view)}; {_change(view, finalists[best.index])}: simulation predicts "
            f"{best.gain:+.3f} attainment (95% interval {best.low:+.3f} to {best.high:+.3f}, from "
            f"{best.incumbent_attainment:.2f} to {best.attainment:.2f}), the best of {screened} "
            f"candidates screened; {view.calibration.note}"
        )
        return Proposal(finalists[best.index], self._name, reason, best.gain, self._version)


class PPOProposer(ModelProposer):
    """The trained agent as a proposer."""

    def __init__(
        self,
        artifact: AgentArtifact,
        screen: bool = True,
        min_gain: float = 0.02,
        effort: SearchEffort | None = None,
    ) -> None:
        super().__init__(
            Policy(artifact),
            "ppo",
            artifact.card.name,
            screen=screen,
            min_gain=min_gain,
            effort=effort,
        )


def _try(
    view: _View, candidates: Sequence[Settings], repeats: int, seed: int, vary_model: bool
) -> list[Trial]:
    incumbent = Schedule.of(view.context.incumbent)
    schedules = [Schedule.of(settings) for settings in candidates]
    return try_candidates(view.scenario, incumbent, schedules, repeats, seed, vary_model)


def _simpler(view: _View, finalists: Sequence[Settings]) -> list[Settings]:
    """The finalists with one changed knob put back each, where that is new and admissible."""
    admissible, incumbent = Admissible(view.context), view.context.incumbent
    simpler: dict[str, Settings] = {}
    for settings in finalists:
        for name in settings.changed_from(incumbent):
            back = settings.with_values(**{name: incumbent[name]})
            if back not in finalists and admissible(back):
                simpler[back.digest] = back
    return list(simpler.values())


def _view(context: ProposalContext) -> _View | None:
    """None when the context does not hold enough to predict anything."""
    rate_rps = _rate(context)
    lengths = _lengths(context.workload)
    if rate_rps is None or len(lengths) == 0 or len(context.space) == 0:
        return None
    if any(name not in context.incumbent for name in context.space.names):
        return None
    ladder = SpaceLadder.of(context.space, context.incumbent)
    if not ladder.movable:
        return None
    calibration = calibrate(context.steps)
    prompt, output = lengths[:, 0], lengths[:, 1]
    systems = Systems(
        StepTable.of([calibration.model]),
        np.array([rate_rps]),
        points_of_sample(prompt, output),
        SLOTable.of([context.slo]),
    )
    mix = SampleMix(prompt.astype(int).tolist(), output.astype(int).tolist())
    scenario = Scenario(calibration.model, calibration.relative_errors, rate_rps, mix, context.slo)
    return _View(context, ladder, calibration, systems, scenario)


def _rate(context: ProposalContext) -> float | None:
    """The rate to plan for: the recent one, or the forecast's where that is higher."""
    rates = [context.workload.rate_rps, context.forecast_rate_rps]
    usable = [r for r in rates if r is not None and math.isfinite(r) and r > 0]
    return max(usable) if usable else None


def _lengths(workload: Workload) -> NDArray[np.float64]:
    """The usable (prompt, output) rows of the sample, [request, 2]."""
    rows = list(zip(workload.prompt_tokens, workload.output_tokens, strict=False))
    table = np.array(rows, dtype=np.float64).reshape(-1, 2)
    return table[np.isfinite(table).all(axis=1) & (table >= 1).all(axis=1)]


def _seen(view: _View) -> str:
    context, scenario = view.context, view.scenario
    mix = view.systems.mix
    seen = (
        f"seen attainment {context.attainment:.2f}"
        if math.isfinite(context.attainment)
        else "attainment unknown"
    )
    forecast = " (forecast)" if scenario.rate_rps > context.workload.rate_rps else ""
    prompt = float((mix.weight * mix.prompt_tokens).sum())
    return (
        f"{seen} of {context.slo.describe()} at {scenario.rate_rps:.3g} requests/s{forecast}, "
        f"prompts {prompt:.0f} tokens on average and {mix.prompt_tokens.max():.0f} in the tail"
    )


def _change(view: _View, settings: Settings) -> str:
    incumbent = view.context.incumbent
    changes = settings.changed_from(incumbent)
    return ", ".join(f"{name} {incumbent[name]} → {value}" for name, value in changes.items())
