"""Which settings a proposer may offer at all, and how it offers them: what all proposers share."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, product

import numpy as np

from autotuner.domain.errors import InvalidSettingsError
from autotuner.domain.experiment import Verdict
from autotuner.domain.explanation import Explanation
from autotuner.domain.goals import GoalKind, devices_of
from autotuner.domain.knobs import Settings
from autotuner.domain.ports import Proposal, ProposalContext

Place = tuple[int, ...]  # a level position per knob, in the space's order

_DRAWS = 64
_LOOKED_AT = 20_000  # settings gone through, one by one, when draws found none; chosen


class Admissible:
    """Says whether settings may be proposed: new, on the levels, within reach, not quarantined.

    Settings that were tried against the incumbent and not accepted are not tried again, nor those
    that the incumbent beat; a test that said nothing (aborted) does not count. What the brain would
    not test is not offered either: a rebuild that takes longer than the workload stays as it is,
    and, where the goal is to use fewer devices, settings that free none.
    """

    def __init__(self, context: ProposalContext) -> None:
        self._context = context
        self._tried = {
            trial.treatment.digest
            for trial in context.past
            if trial.control == context.incumbent and trial.verdict != Verdict.ABORTED
        } | {
            trial.control.digest
            for trial in context.past
            if trial.treatment == context.incumbent and trial.verdict == Verdict.ACCEPTED
        }

    def __call__(self, settings: Settings) -> bool:
        context = self._context
        if settings == context.incumbent or not context.allows(settings):
            return False
        if settings.digest in self._tried:
            return False
        try:
            context.space.validate(settings)
            reachable = context.space.within_step(context.incumbent, settings)
        except (InvalidSettingsError, KeyError):
            return False
        return reachable and not self._too_late(settings) and not self._frees_nothing(settings)

    def _too_late(self, settings: Settings) -> bool:
        context = self._context
        if not context.rebuild_s > context.horizon_s:
            return False
        changed = settings.changed_from(context.incumbent)
        return any(not knob.live and knob.name in changed for knob in context.space)

    def _frees_nothing(self, settings: Settings) -> bool:
        if self._context.goal.kind is not GoalKind.DEVICES:
            return False
        return devices_of(settings) >= devices_of(self._context.incumbent)


@dataclass(frozen=True)
class Openings:
    """The settings open to a proposer, as places in the knob space.

    `start`: the incumbent's place, the nearest one where its values lie between levels. `ranges`:
    the positions within reach of it, per knob.
    """

    context: ProposalContext
    admissible: Admissible
    start: Place
    ranges: tuple[range, ...]

    @classmethod
    def of(cls, context: ProposalContext) -> Openings | None:
        """None where the incumbent does not fit the space: then nothing can be said."""
        space = context.space
        if not space.knobs or set(space.names) != set(context.incumbent):
            return None
        try:
            start = space.indices(context.incumbent)
        except InvalidSettingsError:
            return None
        ranges = []
        for knob, at in zip(space, start, strict=True):
            reach = len(knob.levels) if knob.max_step is None else knob.max_step
            ranges.append(range(max(0, at - reach), min(len(knob.levels), at + reach + 1)))
        return cls(context, Admissible(context), start, tuple(ranges))

    @property
    def size(self) -> int:
        """How many settings lie within reach, the incumbent's among them."""
        return math.prod(map(len, self.ranges))

    def at(self, place: Place) -> Settings | None:
        """The settings at `place` where they are open, else None."""
        if not all(0 <= p < len(k.levels) for p, k in zip(place, self.context.space, strict=True)):
            return None
        settings = self.context.space.at(place)
        return settings if self.admissible(settings) else None

    def moved(self, **steps: int) -> Settings | None:
        """The settings some levels away from the incumbent's, per knob, where they are open."""
        names = self.context.space.names
        return self.at(
            tuple(p + steps.get(name, 0) for p, name in zip(self.start, names, strict=True))
        )

    def clipped(self, place: Sequence[int]) -> Place:
        """`place` moved towards the incumbent until it lies within reach."""
        return tuple(
            max(reach[0], min(reach[-1], int(p)))
            for p, reach in zip(place, self.ranges, strict=True)
        )

    def place(self, settings: Settings) -> Place | None:
        """The nearest place of settings that may not fit the space; None where they do not."""
        try:
            return self.context.space.indices(settings)
        except (InvalidSettingsError, KeyError):
            return None

    def draw(self, rng: np.random.Generator) -> Settings | None:
        """Open settings, all alike; None where none of the many looked at is open."""
        for _ in range(_DRAWS):
            place = tuple(int(rng.integers(reach[0], reach[-1] + 1)) for reach in self.ranges)
            if settings := self.at(place):
                return settings
        return next(self._each(rng), None)

    def _each(self, rng: np.random.Generator) -> Iterator[Settings]:
        """The open settings in an order that is not always the same."""
        orders = [[reach[i] for i in rng.permutation(len(reach))] for reach in self.ranges]
        for place in islice(product(*orders), _LOOKED_AT):
            if settings := self.at(place):
                yield settings


def offered(
    context: ProposalContext, settings: Settings, proposer: str, reason: str, considered: int
) -> Proposal:
    """The proposal of a proposer that predicts nothing, with what it looked at."""
    explanation = Explanation(seen=figures(context), method=proposer, considered=considered)
    return Proposal(settings, proposer, reason, explanation=explanation)


def figures(context: ProposalContext) -> dict[str, float]:
    """What a proposer sees, as named figures; those that are not known are left out."""
    known = {
        "attainment": context.attainment,
        "goal_attainment": context.goal.attainment,
        "rate_rps": context.workload.rate_rps,
        "forecast_rate_rps": context.forecast_rate_rps,
        "past_trials": len(context.past),
    }
    return {k: float(v) for k, v in known.items() if v is not None and math.isfinite(v)}


def generator(context: ProposalContext) -> np.random.Generator:
    """The context's own randomness; seeds of either sign do."""
    return np.random.default_rng(abs(int(context.seed)))
