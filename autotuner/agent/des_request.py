"""A request inside a simulated engine, how it ended, and the log of the engines' steps."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from autotuner.domain.telemetry import Outcome, StepRecord


class Request:
    """One request's bookkeeping.

    `told` counts the tokens given before its present admission: above 0 after a preemption only.
    `cached` of the prompt's tokens are in the prefix cache.
    """

    __slots__ = (
        "admitted_s",
        "arrival_s",
        "cached",
        "computed",
        "end_step",
        "ended",
        "first_s",
        "gap_s",
        "generation",
        "growing",
        "last_s",
        "number",
        "output_tokens",
        "phase",
        "preemptions",
        "prompt_tokens",
        "since_step",
        "told",
    )

    def __init__(
        self,
        number: int,
        arrival_s: float,
        prompt_tokens: int,
        output_tokens: int,
        generation: int = 0,
    ) -> None:
        self.number, self.arrival_s, self.generation = number, arrival_s, generation
        self.prompt_tokens, self.output_tokens = prompt_tokens, output_tokens
        self.cached = self.computed = self.told = self.preemptions = 0
        self.admitted_s = self.first_s = self.last_s = self.gap_s = 0.0
        self.since_step = 0  # the step after which its present decoding began
        self.end_step = -1  # the step of its last token while it decodes
        self.phase = 0
        self.growing = self.ended = False

    @property
    def total_tokens(self) -> int:
        return self.prompt_tokens + self.output_tokens

    @property
    def most_tokens(self) -> int:
        """The most that it caches: K and V of its last token are never computed."""
        return self.prompt_tokens + self.output_tokens - 1

    @property
    def known_tokens(self) -> int:
        """What is to be computed before its next token comes."""
        return self.prompt_tokens + self.told


class Ended(NamedTuple):
    """How and when a request ended; `gap_s` is its longest gap, 0 with less than two tokens."""

    at_s: float
    request: Request
    outcome: Outcome
    gap_s: float


class StepLog:
    """The latest steps, of one engine or several, and how many there have been."""

    def __init__(self, size: int) -> None:
        self.records: deque[StepRecord] = deque(maxlen=size)
        self.count = 0

    def add(self, record: StepRecord) -> None:
        self.records.append(record)
        self.count += 1

    def after(self, cursor: int) -> tuple[list[StepRecord], int]:
        """What is still known of the steps after the cursor, and the next cursor."""
        n = min(len(self.records), self.count - cursor)
        return list(self.records)[len(self.records) - n :] if n > 0 else [], self.count


class Peaks:
    """The longest step since any step: times falling, so the first entry after a step is it."""

    def __init__(self) -> None:
        self.steps: list[int] = []
        self.times_s: list[float] = []

    def add(self, step: int, step_s: float) -> None:
        while self.times_s and self.times_s[-1] <= step_s:
            self.times_s.pop()
            self.steps.pop()
        self.times_s.append(step_s)
        self.steps.append(step)
