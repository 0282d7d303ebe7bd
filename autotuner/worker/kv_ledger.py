"""Which KV blocks each sequence has, and whose contents can be found; no queue, no settings."""

from __future__ import annotations

from autotuner.worker.kv_blocks import BlockPool
from autotuner.worker.kv_layout import BLOCK_TOKENS, block_count
from autotuner.worker.sequence import Sequence


class KVLedger:
    """Gives sequences blocks of a pool.

    `salt` is what K and V depend on besides the text: blocks filled under one are not found under
    another.
    """

    def __init__(self, pool: BlockPool) -> None:
        self._pool = pool

    @property
    def used_ratio(self) -> float:
        return self._pool.used_ratio

    def admit(self, sequence: Sequence, salt: str, reserve_blocks: int, spare_blocks: int) -> bool:
        """Gives blocks for all tokens that it has, as many as possible with K and V in them.

        Refuses, and changes nothing, unless it could have `reserve_blocks` in all with
        `spare_blocks` left free.
        """
        found = self._found(sequence, salt)
        free = self._pool.free - sum(not self._pool.holders(block) for block in found)
        if free - (reserve_blocks - len(found)) < spare_blocks:
            return False
        self._pool.hold(found)
        lacking = block_count(len(sequence.tokens)) - len(found)
        sequence.blocks = found + self._pool.take(lacking)
        sequence.computed = len(found) * BLOCK_TOKENS
        sequence.prefix.published = len(found)
        return True

    def grow(self, sequence: Sequence) -> bool:
        """Gives it one more block, if one is free."""
        if not self._pool.free:
            return False
        sequence.blocks += self._pool.take(1)
        return True

    def publish(self, sequence: Sequence, salt: str) -> None:
        """Makes the blocks that it has filled findable; `salt` is that of the step just done.

        A sequence that met another salt holds a mixture and publishes no more.
        """
        prefix = sequence.prefix
        if prefix.salt != salt:
            prefix.spoil()
            return
        full = sequence.computed // BLOCK_TOKENS
        for i in range(prefix.published, full):
            self._pool.register(sequence.blocks[i], prefix.key(sequence.tokens, i))
        prefix.published = full

    def release(self, sequence: Sequence) -> list[int]:
        """Takes its blocks back; returns those that nobody holds any more."""
        freed = self._pool.release(sequence.blocks)
        sequence.blocks = []
        sequence.computed = 0
        return freed

    def forget(self, sequence: Sequence) -> list[int]:
        """As `release`, and what its blocks hold is not found again."""
        self._pool.forget(sequence.blocks)
        return self.release(sequence)

    def _found(self, sequence: Sequence, salt: str) -> list[int]:
        found: list[int] = []
        if not self._pool.prefix_caching:
            return found
        sequence.prefix.restart(salt)
        for i in range(sequence.reusable_tokens // BLOCK_TOKENS):
            block = self._pool.find(sequence.prefix.key(sequence.tokens, i))
            if block is None:
                break
            found.append(block)
        return found
