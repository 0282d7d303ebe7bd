"""The front's part for fine-tuning; knows no SQL."""

from __future__ import annotations

from dataclasses import replace

from autotuner.domain.fine_tuning import FineTune, Intake
from autotuner.history import fine_tune_store
from autotuner.history.front import Front


class FineTuneFront(Front):
    """Which examples came in, what was trained on them, and what became of it."""

    def record_intake(self, intake: Intake) -> None:
        """One file of examples, taken in or refused."""
        self._db.write(fine_tune_store.write_intake, intake)

    def intakes(self, target: str, limit: int = 50) -> tuple[Intake, ...]:
        """Newest first."""
        return self._db.read(fine_tune_store.read_intakes, target, limit)

    def record_fine_tune(self, one: FineTune) -> FineTune:
        """The fine-tune as it is now, new (id 0) or known; returned with its id."""
        return replace(one, id=self._db.write(fine_tune_store.write_fine_tune, one))

    def fine_tune(self, target: str, name: str) -> FineTune | None:
        """The one of that name."""
        return self._db.read(fine_tune_store.read_fine_tune, target, name)

    def fine_tunes(self, target: str, limit: int = 50) -> tuple[FineTune, ...]:
        """Newest first."""
        return self._db.read(fine_tune_store.read_fine_tunes, target, limit)
