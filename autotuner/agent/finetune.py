"""Further training of an agent on systems like those that one target had, and whether it helped.

Pure but for the training itself, which is stable-baselines3's. What is released is not decided by
the training's own figures: old and new agent play the same held-out systems.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
from scipy.stats import t as student

from autotuner.agent.artifact import AgentArtifact
from autotuner.agent.deals import SystemSource, possible
from autotuner.agent.engine import Engine, EngineTable
from autotuner.agent.fluid import predict
from autotuner.agent.game import Game
from autotuner.agent.ladder import Ladder, SpaceLadder
from autotuner.agent.latencies import SLOTable
from autotuner.agent.lived import Moment
from autotuner.agent.machine import MachineTable
from autotuner.agent.objective import objective
from autotuner.agent.policy import Policy
from autotuner.agent.random_ladders import draw_ladder
from autotuner.agent.stepmodel import Floats, StepTable
from autotuner.agent.systems import Mix, Systems, draw_systems
from autotuner.agent.tables import join
from autotuner.domain.knobs import KnobSpace
from autotuner.domain.slo import SLO

LEAST_SYSTEMS = 50
_LADDERS = 32  # places in the space that games are played around
_WALKS, _WALK_STEPS = 6, 8
_PROBES = 48
_LEAST_ERROR, _MOST_ERROR = 0.05, 0.5


@dataclass(frozen=True)
class Family:
    """Random systems around what a target went through. The spreads are chosen.

    Step coefficients are drawn within their standard errors times `widen`; loads, lengths and
    targets within `rate`, `lengths` and `targets` (deviations of the logarithm). A share `generic`
    are systems of any kind, lest the agent forgets them.
    """

    moments: tuple[Moment, ...]
    space: KnobSpace
    slo: SLO
    generic: float = 0.25
    widen: float = 2.0
    rate: float = 0.35
    lengths: float = 0.15
    targets: float = 0.1

    def draw(self, rng: np.random.Generator, n: int) -> tuple[Systems, Ladder]:
        """`n` systems, each with the levels that a knob may take there."""
        others = int(rng.binomial(n, self.generic))
        parts = [(self._own(rng, n - others), self._ladders(rng, n - others))] if n > others else []
        if others:
            generic = draw_systems(rng, others)
            parts.append((generic, draw_ladder(rng, generic.machines)))
        width = max(s.mix.weight.shape[1] for s, _ in parts)
        systems = join([replace(s, mix=_widened(s.mix, width)) for s, _ in parts])
        ladder = _joined([x for _, x in parts])
        order = rng.permutation(n)
        return systems.take(order), ladder.take(order)

    def _own(self, rng: np.random.Generator, n: int) -> Systems:
        chosen = [self.moments[i] for i in rng.integers(0, len(self.moments), n)]
        errors = np.array([m.relative_errors for m in chosen]) * self.widen
        spread = np.clip(errors, _LEAST_ERROR, _MOST_ERROR)
        steps = StepTable.of([m.model for m in chosen])
        machines = MachineTable.of_steps(
            steps.scaled(np.exp(rng.standard_normal(spread.shape) * spread)),
            EngineTable.of([Engine.of(m.settings) for m in chosen]),
        )
        rooms = np.array([m.kv_tokens for m in chosen])
        machines = replace(machines, kv_tokens=np.where(np.isfinite(rooms), rooms, np.inf))
        of_prompt, of_output = np.exp(rng.normal(0, self.lengths, (2, n, 1)))
        width = max(len(m.mix) for m in chosen)
        mix = join([_widened(m.points, width) for m in chosen])
        targets = SLOTable.of([self.slo] * n)
        eased = np.exp(rng.normal(0, self.targets, (len(fields(SLOTable)), n)))
        plain = Systems.of(
            machines,
            np.array([m.rate_rps for m in chosen]) * np.exp(rng.normal(0, self.rate, n)),
            Mix(
                np.maximum(mix.prompt_tokens * of_prompt, 1),
                np.maximum(mix.output_tokens * of_output, 2),
                mix.weight,
            ),
            SLOTable(
                *(getattr(targets, f.name) * eased[k] for k, f in enumerate(fields(SLOTable)))
            ),
        )
        return replace(plain, prefix_share=np.array([m.prefix_share for m in chosen]))

    def _ladders(self, rng: np.random.Generator, n: int) -> Ladder:
        """The levels within reach of random settings of the space."""
        counts = [len(knob.levels) for knob in self.space]
        places = rng.integers(0, counts, (min(n, _LADDERS), len(counts)))
        found = [SpaceLadder.of(self.space, self.space.at(tuple(p))).ladder for p in places]
        many = _joined(found)
        return many.take(rng.integers(0, len(found), n))


@dataclass(frozen=True)
class Comparison:
    """Old and new agent on the same systems: mean regret (attainment points), lower is better.

    `gain`: by how much the new one's is lower; `bound`: at least so much with 95% confidence, from
    a one-sided paired t-test over the systems.
    """

    before: float
    score: float
    gain: float
    bound: float
    systems: int

    @property
    def better(self) -> bool:
        return self.bound > 0


def compare(
    old: AgentArtifact, new: AgentArtifact, source: SystemSource, systems: int, seed: int
) -> Comparison:
    """Both agents walk from the same places with the same random numbers.

    A walk's regret: the best objective that was found in its game, by either agent or at random,
    less the best that the walk's eight moves met; a system's is the mean over its walks. Raises
    ValueError for fewer systems than a test is worth.
    """
    if systems < LEAST_SYSTEMS:
        raise ValueError(f"systems={systems}: at least {LEAST_SYSTEMS} are needed")

    def repeated(rng: np.random.Generator, n: int) -> tuple[Systems, Ladder]:
        drawn, ladder = source(rng, n // _WALKS)
        rows = np.repeat(np.arange(n // _WALKS), _WALKS)
        return drawn.take(rows), ladder.take(rows)

    def dealt() -> Game:
        return Game.random(np.random.default_rng(seed), systems * _WALKS, source=repeated)

    walked = [_walk(Policy(agent), dealt(), seed + 1) for agent in (old, new)]
    best = np.maximum(np.max(walked, axis=0), _probe(dealt(), seed + 2))
    before, score = ((best - w).reshape(systems, _WALKS).mean(axis=1) for w in walked)
    return judged(before, score)


def judged(before: Floats, score: Floats) -> Comparison:
    """The comparison of two agents' regrets, [system] each."""
    gains = before - score
    n = len(gains)
    error = float(gains.std(ddof=1)) / math.sqrt(n)
    bound = float(gains.mean()) - float(student.ppf(0.95, n - 1)) * error
    return Comparison(float(before.mean()), float(score.mean()), float(gains.mean()), bound, n)


def _walk(policy: Policy, game: Game, seed: int) -> Floats:
    """The best objective that each game's walk met, [game]."""
    rng = np.random.default_rng(seed)
    best = game.objective
    for _ in range(_WALK_STEPS):
        game.step(policy.sample(game.observation(), rng))
        best = np.maximum(best, game.objective)
    return best


def _probe(game: Game, seed: int) -> Floats:
    """The best objective at some random places, [game]."""
    rng = np.random.default_rng(seed)
    best = game.objective
    for _ in range(_PROBES):
        at = possible(game.systems, game.ladder, rng.integers(0, game.ladder.counts))
        found = predict(game.systems, game.ladder.schedules(at), game.ladder.engines(at))
        best = np.maximum(best, objective(found, game.goals))
    return best


def _widened(mix: Mix, width: int) -> Mix:
    """With room for `width` points; those added have no weight."""
    spare = ((0, 0), (0, width - mix.weight.shape[1]))
    return Mix(
        np.pad(mix.prompt_tokens, spare, mode="edge"),
        np.pad(mix.output_tokens, spare, mode="edge"),
        np.pad(mix.weight, spare),
    )


def _joined(parts: Sequence[Ladder]) -> Ladder:
    width = max(part.levels.shape[2] for part in parts)
    return join([part.widened(width) for part in parts])
