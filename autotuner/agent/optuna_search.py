"""Proposers that search by measured evidence alone: Optuna's samplers, asked for one candidate.

The samplers keep nothing between two proposals: a study is made from the evidence each time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution
from optuna.samplers import BaseSampler, GPSampler, TPESampler

from autotuner.agent.candidates import Openings, Place, generator, offered
from autotuner.agent.evidence import Measured, evidence
from autotuner.agent.threads import one_thread
from autotuner.domain.experiment import Verdict
from autotuner.domain.knobs import Knob, Settings
from autotuner.domain.ports import Proposal, ProposalContext

optuna.logging.set_verbosity(optuna.logging.ERROR)

# Settings measured before a sampler is believed; until then it draws at random. Chosen.
_TPE_START, _GP_START = 8, 4
# What each weighs up per ask: as set, and as it is built into the other.
_TPE_CANDIDATES, _GP_CANDIDATES = 24, 2048


@dataclass(frozen=True)
class OptunaProposer:
    """Asks a sampler, seeded with every past trial, for settings to try next.

    `sampler` makes one from a seed; `start`: how many settings, the incumbent's among them, it
    wants measured before it is more than random; `asks`: how often it is asked for settings that
    are open before a draw at random stands in; `compares`: candidates that the sampler weighs up
    each time.
    """

    name: str
    words: str
    sampler: Callable[[int], BaseSampler]
    start: int
    asks: int
    compares: int

    def propose(self, context: ProposalContext) -> Proposal | None:
        """None when nothing is open. Milliseconds for TPE, some tens of them for GP."""
        openings = Openings.of(context)
        if openings is None:
            return None
        known = _known(openings)
        with one_thread():
            settings = self._asked(openings, known)
        stands_in = settings is None
        settings = settings or openings.draw(generator(context))
        if settings is None:
            return None
        reason = self._words(context, known, stands_in)
        at_random = stands_in or len(known) < self.start
        considered = openings.size if at_random else self.compares
        return offered(context, settings, self.name, reason, considered)

    def _asked(self, openings: Openings, known: Mapping[Place, Measured]) -> Settings | None:
        """The first of what the sampler asks for that is open, moved within reach."""
        distributions = _distributions(openings)
        if not distributions:
            return None
        seed = abs(int(openings.context.seed)) % 2**32
        study = optuna.create_study(sampler=self.sampler(seed), direction="maximize")
        for place, measured in known.items():
            params = {name: place[int(name)] for name in distributions}
            study.add_trial(
                optuna.trial.create_trial(
                    params=params, distributions=distributions, value=measured.value
                )
            )
        for _ in range(self.asks):
            params = study.ask(distributions).params
            place = tuple(params.get(str(k), p) for k, p in enumerate(openings.start))
            if settings := openings.at(openings.clipped(place)):
                return settings
        return None

    def _words(
        self, context: ProposalContext, known: Mapping[Place, Measured], stands_in: bool
    ) -> str:
        best = max(known.values(), key=lambda measured: measured.value)
        seen = f"{len(known)} settings known with the incumbent"
        if best.settings != context.incumbent:
            changes = best.settings.changed_from(context.incumbent)
            what = ", ".join(f"{name} {value}" for name, value in changes.items())
            seen += f", the best of them {best.value:+.3f} against it ({what})"
        if len(known) < self.start:
            return f"{seen}: too few for {self.words}, drawn at random"
        if stands_in:
            return f"{seen}: nothing that {self.words} asked for is open, drawn at random"
        return f"{seen}: {self.words} expects most of this"


def tpe() -> OptunaProposer:
    """A tree-structured Parzen estimator over all knobs together (Bergstra et al. 2011)."""

    def sampler(seed: int) -> BaseSampler:
        return TPESampler(
            n_startup_trials=_TPE_START,
            n_ei_candidates=_TPE_CANDIDATES,
            multivariate=True,
            constant_liar=True,
            seed=seed,
        )

    words = "the Parzen estimator"
    return OptunaProposer("tpe", words, sampler, _TPE_START, asks=12, compares=_TPE_CANDIDATES)


def gp() -> OptunaProposer:
    """A Gaussian process and its expected improvement; fewer asks, as each one costs more."""

    def sampler(seed: int) -> BaseSampler:
        return GPSampler(n_startup_trials=_GP_START, seed=seed)

    words = "the Gaussian process"
    return OptunaProposer("gp", words, sampler, _GP_START, asks=3, compares=_GP_CANDIDATES)


def _known(openings: Openings) -> dict[Place, Measured]:
    """What is known per place, the incumbent's at 0; of several at one place the surest.

    What did harm is never better than the incumbent here, even where only a guardrail was broken.
    """
    context = openings.context
    harmful = {t.treatment for t in context.past if t.verdict == Verdict.HARMFUL}
    known = {openings.start: Measured(context.incumbent, 0.0, 0.0)}
    of_all = evidence(context.past, context.incumbent, context.attainment, context.goal)
    for measured in of_all:
        place = openings.place(measured.settings)
        if place is None:
            continue
        if measured.settings in harmful:
            measured = replace(measured, value=min(measured.value, 0.0))
        if place not in known or measured.deviation < known[place].deviation:
            known[place] = measured
    return known


def _distributions(openings: Openings) -> dict[str, BaseDistribution]:
    """Level positions per knob that moves, named by the knob's number in the space."""
    return {
        str(k): _distribution(knob)
        for k, (knob, reach) in enumerate(zip(openings.context.space, openings.ranges, strict=True))
        if len(reach) > 1
    }


def _distribution(knob: Knob) -> BaseDistribution:
    """Words and switches have no order; everything else has the order of its levels."""
    if any(isinstance(level, str | bool) for level in knob.levels):
        return CategoricalDistribution(tuple(range(len(knob.levels))))
    return IntDistribution(0, len(knob.levels) - 1)
