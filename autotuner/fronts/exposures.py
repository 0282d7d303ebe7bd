"""What was served: the record of one finished request, and its place in the exposure log."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Literal

from autotuner.fronts.ring import Page

Outcome = Literal["stop", "length", "abort", "error", "rejected"]
SERVED: tuple[Outcome, ...] = ("stop", "length")


@dataclass(frozen=True, slots=True)
class Exposure:
    """One finished request, as its user saw it; durations in seconds, None where there is none.

    `queue_s` of a request that was never admitted is its whole life. `tpot_s` is the mean gap
    between tokens. `arrival` is wall clock; every duration is from a monotonic clock, save the
    queue's, whose end the engine process tells by the wall clock of the same machine.
    """

    id: str
    generation_start: int
    generation_end: int
    arrival: float
    queue_s: float
    ttft_s: float | None
    tpot_s: float | None
    gap_max_s: float | None
    e2el_s: float
    prompt_tokens: int
    output_tokens: int
    cached_tokens: int
    outcome: Outcome


def page_body(page: Page[Any], name: str) -> dict[str, Any]:
    """The part of an answer that both logs share: the cursor and the records, numbered."""
    return {
        "next": page.next,
        "oldest": page.oldest,
        "overrun": page.overrun,
        name: [{"seq": seq, **_fields(record)} for seq, record in page.records],
    }


def _fields(record: Any) -> dict[str, Any]:
    """As dataclasses.asdict, without its deep copies: a page must not hold up the event loop."""
    return {field.name: getattr(record, field.name) for field in fields(record)}
