"""What users thought of answers: one score per request, attributed to the settings it ran under.

Comments are not kept, only their length: they may hold anything about a person.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum
from itertools import islice
from typing import Any, Protocol

from prometheus_client import Counter, Histogram

from autotuner.fronts.exposures import Exposure, page_body
from autotuner.fronts.ring import Page

SCORES = tuple(tenth / 10 for tenth in range(11))
KEPT_SCORES = 16384  # chosen: as many as there are exposures to attribute them to


@dataclass(frozen=True, slots=True)
class Feedback:
    """A user's score (0 to 1) for the answer to request `id`; `at` is the wall clock (s).

    The generations are those of its exposure: a score of a request that lived under two settings
    counts for neither.
    """

    id: str
    score: float
    generation_start: int
    generation_end: int
    at: float
    comment_chars: int


class MakesMetrics(Protocol):
    """Makes a metric under its front's own prefix."""

    def histogram(self, name: str, told: str, edges: Iterable[float]) -> Histogram: ...

    def counter(self, name: str, told: str) -> Counter: ...


class Taken(Enum):
    """What a score did: it was the first of its request, took its place, or said the same again."""

    NEW = "new"
    REPLACED = "replaced"
    SAME = "same"


class FeedbackLog:
    """The last scores, one per request; one that is replaced moves to the end of the log.

    Must be used from one event loop. `find` gives a finished request's exposure by its id.
    """

    def __init__(
        self,
        find: Callable[[str], Exposure | None],
        wall: Callable[[], float],
        make: MakesMetrics,
        kept: int = KEPT_SCORES,
    ) -> None:
        self._find, self._wall, self._kept = find, wall, kept
        self._by_id: dict[str, tuple[int, Feedback]] = {}  # in the order of sequence numbers
        self._last_seq = self._last_dropped = 0
        self._scores = make.histogram("feedback_score", "First score of a request, 0 to 1", SCORES)
        self._total = make.counter("feedback", "Requests that got a score")
        self._replaced = make.counter("feedback_replaced", "Scores that took another's place")

    def take(self, request_id: str, score: float, comment_chars: int) -> Taken | None:
        """Keeps the score; None when no finished request of that id is known (any more)."""
        exposure = self._find(request_id)
        if exposure is None:
            return None
        _, before = self._by_id.get(request_id, (0, None))
        if before and (before.score, before.comment_chars) == (score, comment_chars):
            return Taken.SAME
        self._keep(exposure, score, comment_chars)
        if before:
            self._replaced.inc()
            return Taken.REPLACED
        self._total.inc()
        self._scores.observe(score)
        return Taken.NEW

    def clear(self) -> None:
        """A new boot: the log begins anew, its counters go on."""
        self._by_id.clear()
        self._last_seq = self._last_dropped = 0

    def page(self, after: int, limit: int) -> dict[str, Any]:
        """The scores after the cursor; those that were replaced since are not there any more."""
        kept = list(self._by_id.values())
        records = list(islice((item for item in kept if item[0] > after), limit))
        following = records[-1][0] if records else after
        oldest = kept[0][0] if kept else self._last_seq + 1
        page = Page(records, following, oldest, overrun=after < self._last_dropped)
        return page_body(page, "feedback")

    def _keep(self, exposure: Exposure, score: float, comment_chars: int) -> None:
        self._last_seq += 1
        self._by_id.pop(exposure.id, None)
        self._by_id[exposure.id] = (
            self._last_seq,
            Feedback(
                id=exposure.id,
                score=score,
                generation_start=exposure.generation_start,
                generation_end=exposure.generation_end,
                at=self._wall(),
                comment_chars=comment_chars,
            ),
        )
        if len(self._by_id) > self._kept:
            self._last_dropped, _ = self._by_id.pop(next(iter(self._by_id)))
