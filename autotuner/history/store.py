"""The history's front: each method is one transaction, durable when it returns; or see `together`.

Knows which areas there are (the `*_front` modules, which know the store function for each question;
the SQL stands in the `*_store` modules). Every method raises HistoryError, with a text fit for a
user, when the database can't do what is asked. Times are UTC epoch seconds.
"""

from __future__ import annotations

from contextlib import AbstractContextManager

from sqlalchemy import Engine

from autotuner.history import pruning, queries
from autotuner.history.alerts_front import AlertsFront
from autotuner.history.decisions_front import DecisionsFront
from autotuner.history.engine import Database, open_engine
from autotuner.history.experiments_front import ExperimentsFront
from autotuner.history.learning_front import LearningFront
from autotuner.history.operations_front import OperationsFront
from autotuner.history.records import TargetStatus
from autotuner.history.series_front import SeriesFront
from autotuner.history.settings_front import SettingsFront
from autotuner.history.upgrade import check_current, upgrade


def open_history(url: str, *, migrate: bool = True) -> History:
    """The history at `url`, its tables upgraded first (or, without `migrate`, checked).

    Raises HistoryError for a bad URL, an unwritable path, a database newer than this code, and,
    without `migrate`, one that is older.
    """
    if migrate:
        upgrade(url)
    else:
        check_current(url)
    return History(open_engine(url))


class History(
    SettingsFront,
    ExperimentsFront,
    DecisionsFront,
    SeriesFront,
    AlertsFront,
    OperationsFront,
    LearningFront,
):
    """All that is remembered about targets; safe to share between threads and processes."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(Database(engine))

    def close(self) -> None:
        """Give all connections back."""
        self._db.close()

    def together(self) -> AbstractContextManager[None]:
        """What this thread writes inside the block is kept as a whole or not at all.

        Durable when the block has been left; keep it short, since others wait for its lock.
        """
        return self._db.together()

    def status(self, target: str) -> TargetStatus:
        return self._db.read(queries.target_status, target)

    def targets(self) -> list[str]:
        return self._db.read(queries.target_names)

    def prune(self, older_than: float) -> dict[str, int]:
        """Rows deleted by table.

        Experiments, settings, incumbents, decisions with something to apply, what people asked and
        which agents were used stay for good; firing alerts, undelivered messages, silences that
        have not ended and the latest forecasts at any age.
        """
        return pruning.prune(self._db, older_than)
