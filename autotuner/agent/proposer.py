"""Proposes the next candidate: the agent's walks and the model's grid, corrected by evidence.

The policy walks through a calibrated model of the target, and the model values the settings within
reach. Past experiments and a discrete-step simulation of the best correct those values; the choice
goes by expected gain and risk. It must not know how a candidate is tested or applied, and it has no
side effects.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from autotuner.agent import worlds
from autotuner.agent.artifact import AgentArtifact
from autotuner.agent.candidates import generator
from autotuner.agent.choice import Appetite, allowed, scores
from autotuner.agent.correction import Beliefs, Readings, gains
from autotuner.agent.explain import Belief, explained, sentence
from autotuner.agent.game import Game
from autotuner.agent.ladder import SpaceLadder
from autotuner.agent.objective import GoalTable
from autotuner.agent.outlook import Outlook, worth
from autotuner.agent.policy import MovePolicy, Policy
from autotuner.agent.prior import PriorOf, usual
from autotuner.agent.reach import unique_places
from autotuner.agent.screening import Screening
from autotuner.agent.stepmodel import Bools, Floats, Ints
from autotuner.agent.view import View, readings, seen_attainment, view_of
from autotuner.domain.ports import Proposal, ProposalContext

_POSITIONS = 0.5  # the weight of level positions beside the behaviour in the model; chosen
_ALIKE = 0.05  # rows that behave so much alike (log2 / 5) are not both simulated; chosen
_NEARLY = 0.1  # of the best worth; chosen
_TIES = 1e-5  # a bit of chance, by the seed, among equals


@dataclass(frozen=True)
class SearchEffort:
    """How hard to look: bounds the time of a proposal (about half a second of one core)."""

    walks: int = 24
    walk_steps: int = 8
    settings: int = 20_000  # valued by the model at most
    pool: int = 640  # of them valued in all worlds
    worlds: int = 24
    screened: int = 8  # of the pool, played in the discrete-step simulator; in each round
    rounds: int = 3  # until the choice is among what was played
    repeats: int = 8


class ModelProposer:
    """Values the settings within reach by a model of the target and by past experiments.

    `min_gain`: the least gain in attainment (points, 0..1) worth an experiment. `prior_of`: what
    is believed of an engine that does not tell its steps.
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
        appetite: Appetite | None = None,
        prior_of: PriorOf = usual,
    ) -> None:
        self._policy, self._name, self._version = policy, name, version
        self._prior_of = prior_of
        self._screen, self._min_gain = screen, min_gain
        self._effort = SearchEffort() if effort is None else effort
        self._appetite = Appetite() if appetite is None else appetite

    def propose(self, context: ProposalContext) -> Proposal | None:
        """The candidate most worth an experiment, None when none is."""
        view = view_of(context, self._prior_of)
        if view is None:
            return None
        rng = generator(context)
        walked = self._walk(view, rng)
        proposal = self._proposed(view, view.reach.known(), walked, rng)
        if proposal is not None or not (~view.reach.known()).any():
            return proposal
        # What no model knows is tried one knob at a time, once nothing else promises a gain.
        unknown = view.reach.neighbours(~view.reach.known())
        still = np.zeros(len(context.space), dtype=np.bool_)
        return self._proposed(view, still, unknown, rng)

    def _proposed(
        self, view: View, moving: Bools, more: Ints, rng: np.random.Generator
    ) -> Proposal | None:
        """The best among the grid of the `moving` knobs and `more` places."""
        pool, considered = self._pool(view, moving, more, rng)
        if len(pool) < 2:
            return None
        beliefs = self._beliefs(view, pool, rng)
        measured, seen = readings(view, pool), seen_attainment(view.context)
        outlook = Outlook.of(view, pool, gains(beliefs, measured, Readings(), seen))
        if outlook.room < self._min_gain:
            return None  # whatever a play would show
        row = self._chosen(view, pool, outlook, rng)
        play = Screening(view, pool, self._effort.repeats, int(rng.integers(2**31)))
        for _ in range(self._effort.rounds if self._screen else 0):
            # What only the model praises is the model's error more often than not: the choice has
            # to be among what was played.
            if len(play.rows) and (row is None or row in play.rows):
                break
            wanted = self._shortlist(beliefs, outlook, row, play.rows)
            if not len(wanted):
                break
            play = play.more(wanted)
            outlook = Outlook.of(view, pool, gains(beliefs, measured, play.readings(), seen))
            row = self._chosen(view, pool, outlook, rng)
        if row is None:
            return None
        return self._offer(view, pool, outlook, row, considered, len(measured))

    def _walk(self, view: View, rng: np.random.Generator) -> Ints:
        """The places that the policy's walks met in the model, [place, knob of the space]."""
        context, n = view.context, self._effort.walks
        walker = SpaceLadder.of(context.space, context.incumbent)
        if not walker.movable:
            return view.reach.start[None, :]
        rows = np.zeros(n, dtype=np.int64)
        game = Game(
            view.system.take(rows),
            walker.ladder.take(rows),
            np.tile(walker.start, (n, 1)),
            goals=GoalTable.of([context.goal] * n),
            horizon_s=np.full(n, context.horizon_s),
            rng=rng,
        )
        met = set[tuple[int, ...]]()
        for _ in range(self._effort.walk_steps):
            game.step(self._policy.sample(game.observation(), rng))
            met.update(map(tuple, game.positions.tolist()))
        places = [view.openings.place(walker.settings(place)) for place in sorted(met)]
        return np.array([p for p in places if p is not None], dtype=np.int64)

    def _pool(
        self, view: View, moving: Bools, more: Ints, rng: np.random.Generator
    ) -> tuple[Ints, int]:
        """Places worth a closer look, the incumbent's first, and of how many they were chosen:
        the model's best, `more`, whatever was measured, and some at random.
        """
        reach, effort = view.reach, self._effort
        grid = reach.places(moving, effort.settings, rng)
        fixed = [p for p in (view.openings.place(m.settings) for m in view.measured) if p]
        kept = np.array(fixed, dtype=np.int64).reshape(-1, grid.shape[1])
        everything = unique_places(np.vstack([reach.start[None, :], more, kept, grid]))
        if len(grid) > effort.pool:
            value = worth(view, worlds.predicted(view.system, reach, grid))
            best = np.argsort(-value, kind="stable")[: effort.pool * 3 // 4]
            some = rng.choice(len(grid), effort.pool // 4, replace=False)
            grid = grid[np.concatenate([best, some])]
        pool = unique_places(np.vstack([reach.start[None, :], more, kept, grid]))
        return pool, len(everything) - 1

    def _beliefs(self, view: View, pool: Ints, rng: np.random.Generator) -> Beliefs:
        errors = view.calibration.relative_errors
        prompts = np.array(view.mix.prompt_tokens, dtype=np.float64)
        doubt = worlds.Doubt.of_sample(prompts)
        many = worlds.draw_worlds(view.system, errors, self._effort.worlds, rng, doubt)
        values = worlds.attainments(many, view.reach, pool)
        behaviour = worlds.behaviour(worlds.predicted(view.system, view.reach, pool))
        axes = np.hstack([_POSITIONS * view.reach.axes(pool), behaviour])
        return Beliefs(axes, values[0], values)

    def _worth(self, outlook: Outlook) -> Floats:
        return scores(
            outlook.mean,
            outlook.deviation,
            outlook.charge,
            self._min_gain / 2,
            outlook.room,
            self._appetite,
        )

    def _shortlist(
        self, beliefs: Beliefs, outlook: Outlook, first: int | None, before: Ints
    ) -> Ints:
        """Rows to play: `first`, then the most worth a test; none behaves like another.

        Levels apart that the simulator knows nothing of, or that make no difference in it, would
        all be played otherwise, and nothing else.
        """
        chosen = [] if first is None else [first]
        behaviour = beliefs.axes[:, -worlds.BEHAVIOURS :]
        for row in np.argsort(-self._worth(outlook), kind="stable").tolist():
            if len(chosen) == self._effort.screened:
                break
            others = behaviour[[*before.tolist(), *chosen]]
            apart = np.linalg.norm(others - behaviour[row], axis=1)
            if row != 0 and apart.min(initial=np.inf) >= _ALIKE:
                chosen.append(row)
        return np.array(chosen, dtype=np.int64)

    def _chosen(
        self, view: View, pool: Ints, outlook: Outlook, rng: np.random.Generator
    ) -> int | None:
        """The admissible row most worth a test; None where none is."""
        worth = self._worth(outlook) + _TIES * rng.random(len(pool))
        fit = allowed(
            outlook.mean, outlook.deviation, outlook.charge, self._min_gain, self._appetite
        )
        changes = view.reach.moves(pool).sum(axis=1)
        best = next(self._open(view, pool, np.flatnonzero(fit)[np.argsort(-worth[fit])]), None)
        if best is None:
            return None
        # Among those nearly as good the one of fewest changes: it is the easier one to explain.
        near = np.flatnonzero(fit & (worth >= worth[best] - _NEARLY * abs(worth[best])))
        return next(self._open(view, pool, near[np.lexsort((-worth[near], changes[near]))]), best)

    @staticmethod
    def _open(view: View, pool: Ints, rows: Ints) -> Iterator[int]:
        """Those of the rows that may be proposed, in the order given."""
        for row in rows.tolist():
            if view.openings.admissible(view.reach.settings(pool[row])):
                yield int(row)

    def _offer(
        self, view: View, pool: Ints, outlook: Outlook, row: int, considered: int, trials: int
    ) -> Proposal:
        context, settings = view.context, view.reach.settings(pool[row])
        effect = float(outlook.mean[row])
        method = "correction" if trials else "policy"
        belief = Belief(
            effect,
            float(outlook.deviation[row]),
            float(outlook.attainment[row]),
            float(outlook.attainment[0]),
            method if effect >= self._min_gain else "exploration",
            considered,
            view.calibration.note,
        )
        prediction = worlds.predicted(view.system, view.reach, pool[[0, row]])
        reason = explained(context, view.system, prediction, settings, belief)
        # An exploration hopes for more than it expects: no plan should be made for its mean.
        told = effect if effect >= self._min_gain and not context.goal.saves else None
        words = sentence(context, settings, reason)
        return Proposal(settings, self._name, words, told, self._version, reason)


class PPOProposer(ModelProposer):
    """The trained agent as a proposer."""

    def __init__(
        self,
        artifact: AgentArtifact,
        screen: bool = True,
        min_gain: float = 0.02,
        effort: SearchEffort | None = None,
        appetite: Appetite | None = None,
        prior_of: PriorOf = usual,
    ) -> None:
        super().__init__(
            Policy(artifact),
            "ppo",
            artifact.card.name,
            screen=screen,
            min_gain=min_gain,
            effort=effort,
            appetite=appetite,
            prior_of=prior_of,
        )
