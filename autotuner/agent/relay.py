"""One proposer takes over from another: the model first, measured evidence once there is enough."""

from __future__ import annotations

from dataclasses import dataclass

from autotuner.domain.ports import Proposal, ProposalContext, Proposer


@dataclass(frozen=True)
class Relay:
    """Asks `first` until `after` trials were made in this regime, then `then`.

    Where `first` has nothing to offer, `then` is asked before its time.
    """

    first: Proposer
    then: Proposer
    after: int = 10

    def propose(self, context: ProposalContext) -> Proposal | None:
        if len(context.past) >= self.after:
            return self.then.propose(context)
        return self.first.propose(context) or self.then.propose(context)
