"""Which agent a target uses: the policy's own, or what was trained from it and released since."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import structlog

from autotuner.agent.artifact import load
from autotuner.domain.errors import AutotunerError
from autotuner.domain.learning import AgentRelease
from autotuner.domain.ports import Proposal, ProposalContext, Proposer
from autotuner.history.store import History

log = structlog.get_logger()


def in_use(history: History, target: str, base: Path) -> Path:
    """The path of the agent that `target` uses, without suffix.

    The last release counts where it comes from `base`: with another agent in the policy, what was
    trained from the old one is no longer meant.
    """
    release = descendant(history, target, load(base).card.name)
    return base if release is None else Path(release.path)


def descendant(history: History, target: str, ancestor: str) -> AgentRelease | None:
    """The last release of `target` where it was trained from `ancestor`, over any generations."""
    releases = history.agent_releases(target)
    parents = {one.version: one.parent for one in releases}
    if not releases:
        return None
    name: str | None = releases[0].version
    for _ in range(len(releases) + 1):
        if name is None or name == ancestor:
            break
        name = parents.get(name)
    return releases[0] if name == ancestor else None


class ReleasedProposer:
    """Proposes with the agent in use; a release is taken up at the next proposal.

    `build` makes a proposer of an agent's path; it may raise AutotunerError.
    """

    def __init__(
        self, history: History, target: str, base: Path, build: Callable[[Path], Proposer]
    ) -> None:
        self._history, self._target, self._build = history, target, build
        self._ancestor = load(base).card.name
        self._proposer, self._version = build(base), self._ancestor
        self._refused: str | None = None

    def propose(self, context: ProposalContext) -> Proposal | None:
        """As the agent in use does. An agent that can't be used leaves the one before it."""
        self._take_up()
        return self._proposer.propose(context)

    def _take_up(self) -> None:
        release = descendant(self._history, self._target, self._ancestor)
        if release is None or release.version in (self._version, self._refused):
            return
        try:
            self._proposer, self._version = self._build(Path(release.path)), release.version
        except AutotunerError as problem:
            self._refused = release.version
            log.error("agent.unusable", target=self._target, problem=str(problem))
            return
        log.info("agent.taken_up", target=self._target, version=release.version)
