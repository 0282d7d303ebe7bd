"""Who holds which block of the KV cache, and which blocks' contents can be found again.

Pure bookkeeping of block numbers and keys: no tokens, no sequences, no memory.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from heapq import heappop, heappush

from autotuner.worker.kv_layout import SCRATCH_BLOCK


class BlockPool:
    """Blocks with their holders counted.

    A block that nobody holds is free: either empty, or idle, that is, its contents have a key and
    can be found until the block is needed. Empty ones are taken first, the lowest first, so that
    memory is touched only as the pool fills; then the idle one that was held longest ago.
    """

    def __init__(self, blocks: int, prefix_caching: bool = True) -> None:
        """`blocks` counts the scratch block, which is never given out."""
        self.prefix_caching = prefix_caching
        self.size = blocks - 1
        self._empty = [block for block in range(blocks) if block != SCRATCH_BLOCK]  # a heap
        self._idle: OrderedDict[int, None] = OrderedDict()
        self._holders = [0] * blocks
        self._block_of: dict[bytes, int] = {}
        self._key_of: dict[int, bytes] = {}

    @property
    def free(self) -> int:
        return len(self._empty) + len(self._idle)

    @property
    def used_ratio(self) -> float:
        """The share that is held; what is merely cached counts as free."""
        return 1.0 - self.free / self.size

    def holders(self, block: int) -> int:
        return self._holders[block]

    def take(self, count: int) -> list[int]:
        """Free blocks, now held once; idle ones among them lose their contents.

        Raises ValueError, and takes nothing, if there are too few.
        """
        if count > self.free:
            raise ValueError(f"count={count}: only {self.free} blocks are free")
        return [self._take_one() for _ in range(count)]

    def hold(self, blocks: Iterable[int]) -> None:
        """Counts one more holder of blocks that `find` gave."""
        for block in blocks:
            self._idle.pop(block, None)
            self._holders[block] += 1

    def release(self, blocks: Sequence[int]) -> list[int]:
        """Counts one holder less of each; returns those that are free now.

        The last blocks are given out again first: without them, those before are still of use.
        """
        freed = []
        for block in reversed(blocks):
            self._holders[block] -= 1
            if not self._holders[block]:
                freed.append(block)
                self._make_free(block)
        return freed

    def find(self, key: bytes) -> int | None:
        """The block with these contents, held or idle."""
        return self._block_of.get(key)

    def register(self, block: int, key: bytes) -> None:
        """Makes a held block's contents findable; where others have the key, it stays unnamed."""
        if self.prefix_caching and key not in self._block_of:
            self._block_of[key] = block
            self._key_of[block] = key

    def forget(self, blocks: Iterable[int]) -> None:
        """Makes the contents of held blocks unfindable."""
        for block in blocks:
            key = self._key_of.pop(block, None)
            if key is not None:
                del self._block_of[key]

    def _take_one(self) -> int:
        if self._empty:
            block = heappop(self._empty)
        else:
            block, _ = self._idle.popitem(last=False)
            self.forget([block])
        self._holders[block] = 1
        return block

    def _make_free(self, block: int) -> None:
        if block in self._key_of:
            self._idle[block] = None
        else:
            heappush(self._empty, block)
