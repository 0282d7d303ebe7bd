"""Experiments that hold some words: in the id, the knobs, who proposed them, or the reason."""

from __future__ import annotations

from collections.abc import Iterator

from autotuner.domain.experiment import Verdict
from autotuner.web import reading
from autotuner.web.cursors import cursor_of
from autotuner.web.sources import Sources
from autotuner.web.views import ExperimentLine, ExperimentPage

_AT_A_TIME, _MOST_READ = 100, 1000  # chosen: some months of tests are looked through at once


def found_experiments(
    sources: Sources,
    text: str,
    *,
    target: str | None,
    verdict: Verdict | None,
    cursor: str | None,
    limit: int,
) -> ExperimentPage:
    """Newest first. Reads at most 1000 experiments; `next` goes on where it stopped."""
    if not text:
        return reading.experiments(
            sources, target=target, verdict=verdict, cursor=cursor, limit=limit
        )
    kept: list[ExperimentLine] = []
    read, last = 0, ""
    for one in _all(sources, target, verdict, cursor):
        if len(kept) == limit or read == _MOST_READ:
            return ExperimentPage(tuple(kept), cursor_of(last))
        read, last = read + 1, one.id
        if _holds(one, text.casefold()):
            kept.append(one)
    return ExperimentPage(tuple(kept), None)


def _all(
    sources: Sources, target: str | None, verdict: Verdict | None, cursor: str | None
) -> Iterator[ExperimentLine]:
    while True:
        page = reading.experiments(
            sources, target=target, verdict=verdict, cursor=cursor, limit=_AT_A_TIME
        )
        yield from page.items
        cursor = page.next
        if cursor is None:
            return


def _holds(one: ExperimentLine, text: str) -> bool:
    knobs = " ".join(f"{name}={new} {name}" for name, (_, new) in one.changed.items())
    told = f"{one.id} {one.target} {knobs} {one.proposer} {one.rationale} {one.reason}"
    return text in told.casefold()
