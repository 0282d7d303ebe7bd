"""Names for KV blocks by the text that they hold; pure, and it knows no block numbers."""

from __future__ import annotations

from array import array
from hashlib import blake2b

from autotuner.worker.kv_layout import BLOCK_TOKENS


class PrefixKeys:
    """The keys of one sequence's full blocks, each hashed once.

    A key is a 256-bit digest of the block's tokens and of the key before it, so it stands for the
    whole text up to there. The chain starts with `salt`: what the numbers in the cache depend on
    besides the text (the attention mode). The hash is a cryptographic one, because two texts with
    one key would show a user the other's text.

    `salt` is None where the blocks have no name: before admission, without prefix caching, and once
    they hold a mixture. The first `published` blocks are done with.
    """

    def __init__(self) -> None:
        self.salt: str | None = None
        self.published = 0
        self._keys: list[bytes] = []

    def restart(self, salt: str) -> None:
        """For blocks that are filled anew; keys under the same salt stay known."""
        if salt != self.salt:
            self.salt = salt
            self._keys = []

    def spoil(self) -> None:
        """From here on the blocks hold what no key stands for."""
        self.salt = None

    def key(self, tokens: list[int], block: int) -> bytes:
        """The key of the sequence's block number `block`, which must be full of `tokens`."""
        if self.salt is None:
            raise ValueError("no salt: call restart first")
        while len(self._keys) <= block:
            parent = self._keys[-1] if self._keys else self.salt.encode()
            first = len(self._keys) * BLOCK_TOKENS
            text = array("q", tokens[first : first + BLOCK_TOKENS]).tobytes()
            self._keys.append(blake2b(parent + text, digest_size=32).digest())
        return self._keys[block]
