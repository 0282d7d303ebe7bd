"""Whether memory, patience or a full queue can have changed what the cursors played, per row.

Memory is counted so that it errs on the safe side: a row that is not broken ran exactly as it
would have without any limit.
"""

from __future__ import annotations

import numpy as np

from autotuner.agent.des_memory import BLOCK_TOKENS, KVBlocks
from autotuner.agent.latencies import Latencies
from autotuner.agent.serving import ServingTable
from autotuner.agent.stepmodel import Bools, Floats, Ints

_SOONER_S = 1e-9  # a time that is looked ahead to may come out a rounding error too late


class Limits:
    """Tokens of KV that each row holds at most, and which rows are `broken`.

    Careful admission counts the blocks of a request's whole length from its admission on,
    optimistic admission its prompt and what it grows by, each in a last block of its own.
    """

    def __init__(
        self, prompt: Ints, output: Ints, serving: ServingTable, max_waiting: float
    ) -> None:
        n = len(prompt)
        self.broken: Bools = serving.replicas > 1
        self.memory = bool(np.isfinite(serving.kv_tokens).any())
        self._patience_s, self._max_waiting = serving.patience_s, max_waiting
        self._patient = bool(np.isfinite(serving.patience_s).any())
        self.any = self.memory or self._patient or np.isfinite(max_waiting) or self.broken.any()
        self._rows = np.arange(n)
        self._optimistic = serving.optimistic
        self._held = np.zeros(n, np.int64)
        if not self.memory:
            return
        self._limit = np.array([_admissible(*row) for row in self._each(serving)])
        most = -(-(prompt + output - 1) // BLOCK_TOKENS) * BLOCK_TOKENS
        optimistic = serving.optimistic[:, None]
        slack = BLOCK_TOKENS - 1
        self._taken = np.where(optimistic, prompt + slack, most)
        self._given = np.where(optimistic, prompt + output - 1 + slack, most)
        self._sums = np.cumsum(np.pad(self._taken, ((0, 0), (1, 0))), axis=1)

    @staticmethod
    def _each(serving: ServingTable) -> list[tuple[float, bool]]:
        return list(zip(serving.kv_tokens.tolist(), serving.optimistic.tolist(), strict=True))

    def admit(self, admitted: Ints, taken: Ints) -> None:
        """`taken` more requests per row, in the order of arrival, from `admitted` on."""
        if self.memory:
            sums = self._sums
            self._held += sums[self._rows, admitted + taken] - sums[self._rows, admitted]

    def admit_some(self, row: int, requests: list[int]) -> None:
        """The given requests of one row."""
        if self.memory:
            self._held[row] += self._taken[row, requests].sum()

    def end_at(self, rows: Ints, request: Ints, later: Bools) -> Ints:
        """Requests that end `later` or now: what the later ones will free."""
        given = self._given[rows, request]
        self._held[rows] -= np.where(later, 0, given)
        return np.where(later, given, 0)

    def over(self, rows: Ints, decoding: Ints, freed: Ints) -> Bools:
        """In which steps [row, step] from here on memory may bind."""
        growth = np.where(self._optimistic[rows, None], decoding, 0)
        held = self._held[rows, None] + growth.cumsum(axis=1) - (freed.cumsum(axis=1) - freed)
        return np.asarray(held > self._limit[rows, None])

    def pass_by(self, rows: Ints, decoding: Ints, freed: Ints, last: tuple[Ints, Ints]) -> None:
        """Steps [row, step] up to `last` ended: who decoded grew by a token, others left."""
        growth = np.where(self._optimistic[rows, None], decoding, 0)
        self._held[rows] += (growth - freed).cumsum(axis=1)[last]

    def until_s(
        self, rows: Ints, arrival_s: Floats, oldest: Ints, admitted: Ints, cap_s: float
    ) -> Floats:
        """No queue limit binds before, as long as nobody is admitted; the cap where that is less.

        `oldest` is who is admitted next, whether it has come or not.
        """
        until = np.full(len(rows), cap_s)
        if self._patient:
            oldest_s = arrival_s[rows, oldest[rows]]
            until = np.minimum(until, oldest_s + self._patience_s[rows] - _SOONER_S)
        if np.isfinite(self._max_waiting):
            one_too_many = admitted[rows] + int(self._max_waiting)
            last = arrival_s.shape[1] - 1
            until = np.minimum(until, arrival_s[rows, np.minimum(one_too_many, last)])
        return until

    def look_at_queue(self, waiting: Ints, waited_s: Floats, active: Bools) -> None:
        """Before admission; `waited_s` is the time of who waits longest, where any does."""
        tired = (waiting > 0) & (waited_s >= self._patience_s)
        self.broken = self.broken | ((tired | (waiting > self._max_waiting)) & active)

    def look_at_memory(self, decoding: Ints, active: Bools) -> None:
        """After admission: whether what the next step holds may be too much."""
        if self.memory:
            growth = np.where(self._optimistic, decoding, 0)
            self.broken = self.broken | ((self._held + growth > self._limit) & active)

    def look_back(self, latencies: Latencies, stopped_s: Floats) -> None:
        """After the last step: whose patience was over before the request ended."""
        if self._patient:
            unserved_s = stopped_s[:, None] - latencies.arrival_s
            ended = np.isfinite(latencies.e2el_s)
            stay_s = np.where(ended, latencies.e2el_s, unserved_s)
            self.broken = self.broken | (stay_s > self._patience_s[:, None]).any(axis=1)


def _admissible(kv_tokens: float, optimistic: bool) -> float:
    """Tokens up to which no request is refused and none preempted."""
    return KVBlocks(kv_tokens).admissible_tokens(optimistic) if np.isfinite(kv_tokens) else np.inf
