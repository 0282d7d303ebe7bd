"""The history's front: each method is one transaction, durable when it returns; or see `together`.

Knows which areas there are (the `*_front` modules, which know the store function for each question;
the SQL stands in the `*_store` modules). Every method raises HistoryError, with a text fit for a
user, when the database can't do what is asked. Times are UTC epoch seconds.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path

from sqlalchemy import URL, Engine

from autotuner.history import compaction, pruning, queries
from autotuner.history.alerts_front import AlertsFront
from autotuner.history.compaction import Compacted, Keeping
from autotuner.history.decisions_front import DecisionsFront
from autotuner.history.engine import Database, open_engine
from autotuner.history.experiments_front import ExperimentsFront
from autotuner.history.export import Wanted
from autotuner.history.export import export as export_rows
from autotuner.history.fine_tune_front import FineTuneFront
from autotuner.history.formats import Format
from autotuner.history.leader_front import LeaderFront
from autotuner.history.leader_store import check_term
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
    FineTuneFront,
    LeaderFront,
):
    """All that is remembered about targets; safe to share between threads and processes."""

    def __init__(self, engine: Engine, term: int | None = None) -> None:
        """`term`: a leader's; once it has ended, every change raises StaleLeaderError."""
        fence = None if term is None else partial(check_term, term=term)
        super().__init__(Database(engine, fence))
        self._term = term

    def under(self, term: int) -> History:
        """The same history for the leader of `term`: see there. To be closed once, either one."""
        return History(self._db.engine, term)

    @property
    def term(self) -> int | None:
        """Of leadership, under which is written; None where nobody leads."""
        return self._term

    @property
    def url(self) -> URL:
        """Where it is, with the driver and the password."""
        return self._db.engine.url

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

    def keep(self, keeping: Keeping) -> dict[str, int]:
        """Drops and thins what is older than it says, in small steps; rows that went, by table."""
        return compaction.keep(self._db, keeping)

    def compact(self, keeping: Keeping, *, dry_run: bool = False) -> Compacted:
        """The same, and the file made as small as it can be; writers wait for that on SQLite."""
        return compaction.compact(self._db, keeping, dry_run=dry_run)

    def export(self, wanted: Wanted, form: Format, out: Path, *, force: bool = False) -> int:
        """Rows of a table or view written to a file: see `export`."""
        return export_rows(self._db, wanted, form, out, force=force)

    def prune(self, older_than: float) -> dict[str, int]:
        """Rows deleted by table.

        Experiments, settings, incumbents, decisions with something to apply, what people asked,
        which agents were used and what was served by the hour stay for good; firing alerts,
        undelivered messages, silences that have not ended and the latest forecasts at any age.
        """
        return pruning.prune(self._db, pruning.everything(older_than))
