"""What waits to be written while the database is away, in order; knows no table.

Only such writes wait here as nothing is done because of: what was seen, what was told, and what
became of a decision that was recorded before it acted. A decision to act never waits.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import structlog

from autotuner.domain.errors import HistoryError, HistoryUnavailableError

log = structlog.get_logger()

T = TypeVar("T")
MOST = 20_000  # chosen: weeks of the samples, alerts and held decisions of one target


@dataclass(frozen=True)
class _Waiting:
    what: str
    write: Callable[[], object]
    needed: bool


class Backlog:
    """One target's; for the thread of its cycle. Figures may be read from any thread.

    Beyond `most`, what is not needed to know what was done is dropped, oldest first, and counted.
    """

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._waiting: deque[_Waiting] = deque()
        self._since: float | None = None
        self._problem = ""
        self._dropped = 0

    @property
    def problem(self) -> str:
        """Why the database can't be used now; empty where it answered last."""
        return self._problem

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    @property
    def dropped(self) -> int:
        """Writes that are lost: beyond the bound, or refused when they came."""
        return self._dropped

    def away_s(self, now: float) -> float:
        """For how long the database has been away (s); 0 where it answered last."""
        return 0.0 if self._since is None else max(0.0, now - self._since)

    def write(self, what: str, write: Callable[[], object], *, needed: bool = False) -> None:
        """Writes now, or, while the database is away, when it is back; `write` may come twice.

        `needed`: it is never dropped. Raises HistoryError only for what the history refuses now.
        """
        if not self._problem and not self._waiting:
            try:
                write()
            except HistoryUnavailableError as problem:
                self._problem = str(problem)
            else:
                return
        self._waiting.append(_Waiting(what, write, needed))
        if len(self._waiting) > self._most:
            self._drop_one()

    def ask(self, read: Callable[[], T], otherwise: T) -> T:
        """What `read` returns; `otherwise` while the database is away."""
        if self._problem:
            return otherwise
        try:
            return read()
        except HistoryUnavailableError as problem:
            self._problem = str(problem)
            return otherwise

    @contextmanager
    def returning(self, now: float) -> Iterator[None]:
        """Around the first use of the database in a cycle: writes what waits before it.

        Raises HistoryUnavailableError where the database is away still, with all else waiting.
        """
        try:
            self._catch_up()
            yield
        except HistoryUnavailableError as problem:
            self._problem = str(problem)
            self._since = now if self._since is None else self._since
            raise
        self._problem, self._since = "", None

    def _catch_up(self) -> None:
        written = 0
        while self._waiting:
            first = self._waiting[0]
            try:
                first.write()
                written += 1
            except HistoryUnavailableError:
                raise
            except HistoryError as problem:
                # What is refused now would be refused for ever, and hold up all behind it.
                self._dropped += 1
                log.error("history.refused_late", what=first.what, problem=str(problem))
            self._waiting.popleft()
        if written:
            log.info("history.caught_up", written=written, dropped=self._dropped)

    def _drop_one(self) -> None:
        victim = next((one for one in self._waiting if not one.needed), None)
        if victim is not None:
            self._waiting.remove(victim)
            self._dropped += 1
            if self._dropped == 1:
                log.error("history.backlog_full", most=self._most, dropped=victim.what)
