"""Which settings a proposer may offer at all: the rules that every proposer shares."""

from __future__ import annotations

from autotuner.domain.errors import InvalidSettingsError
from autotuner.domain.experiment import Verdict
from autotuner.domain.knobs import Settings
from autotuner.domain.ports import ProposalContext


class Admissible:
    """Says whether settings may be proposed: new, within reach, not quarantined.

    Settings that were tried against the incumbent and not accepted are not tried again; a test
    that said nothing (aborted) does not count.
    """

    def __init__(self, context: ProposalContext) -> None:
        self._context = context
        self._tried = {
            trial.treatment.digest
            for trial in context.past
            if trial.control == context.incumbent and trial.verdict != Verdict.ABORTED
        }

    def __call__(self, settings: Settings) -> bool:
        context = self._context
        try:
            reachable = context.space.within_step(context.incumbent, settings)
        except (InvalidSettingsError, KeyError):
            return False
        return (
            reachable
            and settings != context.incumbent
            and settings.digest not in context.quarantined
            and settings.digest not in self._tried
        )
