"""Picks the replica for a request, and knows what each has in flight. Pure: no I/O, no clock."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from autotuner.worker.kv_layout import BLOCK_TOKENS

PREFIX_BLOCKS = 16  # chosen: 256 tokens hold most system prompts
MAX_PREFIXES = 8192  # chosen: about 1 MB
SLACK_TOKENS = 1024  # chosen: what a replica that knows the prompt may have in flight above others


@dataclass(frozen=True)
class Placed:
    """Where a request went, and how many tokens it may cost there (prompt and answer)."""

    replica: int
    tokens: int


class Router:
    """Least-loaded by tokens in flight, but a known prompt prefix goes where it was served last.

    A replica that knows the prefix is taken while it has at most `slack_tokens` more in flight
    than the least loaded one, so that a popular prefix never piles up on one replica. Equal
    replicas take turns.
    """

    def __init__(self, slack_tokens: int = SLACK_TOKENS, max_prefixes: int = MAX_PREFIXES) -> None:
        self._slack_tokens, self._max_prefixes = slack_tokens, max_prefixes
        self._placed: dict[str, Placed] = {}
        self._load_tokens: dict[int, int] = {}
        self._last_turn: dict[int, int] = {}
        self._turn = 0
        self._prefixes: OrderedDict[int, int] = OrderedDict()  # hash of a prefix to a replica

    def __len__(self) -> int:
        """Requests in flight."""
        return len(self._placed)

    def load_tokens(self, replica: int) -> int:
        return self._load_tokens.get(replica, 0)

    def replica_of(self, request_id: str) -> int | None:
        placed = self._placed.get(request_id)
        return None if placed is None else placed.replica

    def route(
        self, request_id: str, prompt: Sequence[int], tokens: int, ready: Sequence[int]
    ) -> int:
        """The replica, one of `ready` (not empty), that is to serve the request.

        `tokens` is the most that it may cost: prompt and answer. An empty prompt has no prefix.
        """
        prefixes = list(_prefix_hashes(prompt))
        replica = self._pick(prefixes, ready)
        self._turn += 1
        self._last_turn[replica] = self._turn
        self._placed[request_id] = Placed(replica, tokens)
        self._load_tokens[replica] = self.load_tokens(replica) + tokens
        self._remember(prefixes, replica)
        return replica

    def ended(self, request_id: str) -> None:
        """Frees what the request took; one that is not known has been freed before."""
        placed = self._placed.pop(request_id, None)
        if placed is not None:
            self._load_tokens[placed.replica] -= placed.tokens

    def lost(self, replica: int) -> list[str]:
        """The requests that were lost with the replica; its prefixes are forgotten as well."""
        ids = [request for request, placed in self._placed.items() if placed.replica == replica]
        for request_id in ids:
            self.ended(request_id)
        for prefix in [p for p, owner in self._prefixes.items() if owner == replica]:
            del self._prefixes[prefix]
        return ids

    def _pick(self, prefixes: list[int], ready: Sequence[int]) -> int:
        least = min(map(self.load_tokens, ready))
        close = {r for r in ready if self.load_tokens(r) <= least + self._slack_tokens}
        for prefix in reversed(prefixes):  # the longest one saves most
            owner = self._prefixes.get(prefix)
            if owner in close:
                return owner
        return min(ready, key=lambda r: (self.load_tokens(r), self._last_turn.get(r, 0)))

    def _remember(self, prefixes: list[int], replica: int) -> None:
        for prefix in prefixes:
            self._prefixes[prefix] = replica
            self._prefixes.move_to_end(prefix)
        while len(self._prefixes) > self._max_prefixes:
            self._prefixes.popitem(last=False)


def _prefix_hashes(prompt: Sequence[int]) -> Iterator[int]:
    """One for each of the first whole blocks, each over all tokens up to its block's end.

    They are the prefix cache's blocks: a shorter common start saves an engine nothing.
    """
    so_far = 0
    for end in range(
        BLOCK_TOKENS, min(len(prompt), PREFIX_BLOCKS * BLOCK_TOKENS) + 1, BLOCK_TOKENS
    ):
        so_far = hash((so_far, *prompt[end - BLOCK_TOKENS : end]))
        yield so_far
