"""How many targets think of a candidate at once: thinking takes processor time that cycles need."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from autotuner.domain.errors import ProposerBusyError
from autotuner.domain.ports import Proposal, ProposalContext, Proposer

# Chosen: who has not asked again for so long (a cycle or some) does not want to think any more.
PATIENCE_S = 120.0


class Thinkers:
    """At most `at_once` targets think at the same time; whoever waits is let in by order of asking.

    Nobody is blocked: who is not let in asks again later, and keeps its place meanwhile.
    """

    def __init__(self, at_once: int = 1, clock: Callable[[], float] = time.monotonic) -> None:
        self._at_once, self._clock = at_once, clock
        self._lock = threading.Lock()
        self._thinking: set[str] = set()
        self._waiting: dict[str, float] = {}  # in the order of first asking; last asked at (s)

    @contextmanager
    def turn(self, target: str) -> Iterator[None]:
        """Held while `target` thinks. Raises ProposerBusyError where it is not its turn."""
        with self._lock:
            self._enter(target)
        try:
            yield
        finally:
            with self._lock:
                self._thinking.discard(target)

    def _enter(self, target: str) -> None:
        now = self._clock()
        self._waiting[target] = now
        self._waiting = {
            name: asked for name, asked in self._waiting.items() if now - asked <= PATIENCE_S
        }
        before = list(self._waiting).index(target)
        if before >= self._at_once - len(self._thinking):
            ahead = before + len(self._thinking)
            raise ProposerBusyError(
                f"waiting for its turn to think of a candidate: {ahead} other "
                f"target{'s' if ahead > 1 else ''} first"
            )
        del self._waiting[target]
        self._thinking.add(target)


class InTurn:
    """A target's proposer that thinks only in its turn among `thinkers`."""

    def __init__(self, proposer: Proposer, target: str, thinkers: Thinkers) -> None:
        self._proposer, self._target, self._thinkers = proposer, target, thinkers

    def propose(self, context: ProposalContext) -> Proposal | None:
        """As the proposer does. Raises ProposerBusyError, with no side effect, out of turn."""
        with self._thinkers.turn(self._target):
            return self._proposer.propose(context)
