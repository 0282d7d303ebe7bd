"""What the parts of the history's front share: the database that each of their methods asks."""

from __future__ import annotations

from autotuner.history.engine import Database


class Front:
    """One area's questions and changes; each method is one transaction, see `store`."""

    def __init__(self, database: Database) -> None:
        self._db = database
        self._term: int | None = None  # of leadership, under which is written
