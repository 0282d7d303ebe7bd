"""The front's part for the daemon's decisions; knows no SQL."""

from __future__ import annotations

from autotuner.domain.knobs import Settings
from autotuner.history import decisions_store
from autotuner.history.front import Front
from autotuner.history.records import DecisionOutcome, DecisionRecord


class DecisionsFront(Front):
    """What each cycle decided, and what became of it."""

    def record_decision(
        self,
        target: str,
        action: str,
        reason: str,
        *,
        at: float,
        generation: int | None = None,
        settings: Settings | None = None,
        experiment_id: str | None = None,
        advisory: bool = False,
    ) -> int:
        """The id of the decision, recorded BEFORE acting on it.

        `action`: HOLD, START, CONTINUE, PROMOTE or ROLLBACK. With `settings` to apply it is
        pending until `decision_done`; without, or when `advisory`, it is finished at once.
        `experiment_id` must be recorded already.
        """
        return self._db.write(
            decisions_store.write_decision,
            {
                "target": target,
                "action": action,
                "reason": reason,
                "decided_at": at,
                "generation": generation,
                "experiment_id": experiment_id,
                "term": self._term,
            },
            settings,
            advisory,
        )

    def decision_done(
        self,
        decision_id: int,
        outcome: DecisionOutcome | str,
        at: float,
        *,
        note: str = "",
        generation: int | None = None,
    ) -> None:
        """What became of it. UNKNOWN stays unfinished and may be settled later; others are final.

        `generation` is the one in force afterwards. Raises HistoryError for an unknown id and
        for a decision that was settled otherwise.
        """
        self._db.write(
            decisions_store.finish_decision,
            decision_id,
            DecisionOutcome(outcome),
            at,
            note,
            generation,
        )

    def unfinished_decisions(self, target: str) -> list[DecisionRecord]:
        """Those pending or of unknown outcome, oldest first."""
        return self._db.read(decisions_store.read_unfinished, target)

    def decisions(
        self, target: str, *, before: int | None = None, limit: int = 50
    ) -> list[DecisionRecord]:
        """Newest first; `before` is the id to go on from."""
        return self._db.read(decisions_store.read_decisions, target, before, limit)
