"""Out of turn, the brain waits a cycle; it does not rest as if nothing had been found."""

from __future__ import annotations

from autotuner.domain.errors import ProposerBusyError
from autotuner.domain.ports import Proposal, ProposalContext
from autotuner.tuner import Action, Tuner
from tests.unit.tuner.world import NOW, RULES, seen, state


class Busy:
    def propose(self, context: ProposalContext) -> Proposal | None:
        del context
        raise ProposerBusyError("waiting for its turn: 2 other targets first")


def test_a_target_whose_turn_it_is_not_asks_again_in_the_next_cycle() -> None:
    before = state()
    decision = Tuner(RULES, Busy()).decide(before, seen(), NOW)
    assert decision.action is Action.HOLD
    assert "2 other targets first" in decision.reason
    assert decision.state.idle_until <= NOW
