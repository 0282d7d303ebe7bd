"""The front's part for what the agent learns from; knows no SQL."""

from __future__ import annotations

from collections.abc import Sequence

from autotuner.domain.learning import AgentRelease, ModelCheck
from autotuner.history import learning_store
from autotuner.history.front import Front


class LearningFront(Front):
    """How good the agent's model was, and which agent each target uses."""

    def record_model_checks(self, target: str, checks: Sequence[ModelCheck]) -> None:
        """All of them or none. The experiment that a check is of must be recorded already."""
        self._db.write(learning_store.write_checks, target, checks)

    def model_checks(
        self, target: str, *, since: float, figure: str | None = None
    ) -> tuple[ModelCheck, ...]:
        """Those of one figure, or of all, from `since` on, oldest first."""
        return self._db.read(learning_store.read_checks, target, since, figure)

    def release_agent(self, release: AgentRelease) -> None:
        """From now on the release's target uses this agent."""
        self._db.write(learning_store.write_release, release)

    def current_agent(self, target: str) -> AgentRelease | None:
        """The last one that was released; None where none was."""
        return next(iter(self.agent_releases(target, 1)), None)

    def agent_releases(self, target: str, limit: int = 50) -> tuple[AgentRelease, ...]:
        """Newest first."""
        return self._db.read(learning_store.read_releases, target, limit)
