"""The KV blocks of one simulated engine: who may be admitted, and when decoding runs out of them.

The bundled worker's rules, on counts alone. A sequence that decodes needs a block every
BLOCK_TOKENS steps, always at the same phase of the step number, so a step's need is one look-up.
"""

from __future__ import annotations

BLOCK_TOKENS = 16  # the worker's
WATERMARK_RATIO = 0.01  # the worker's: the share that optimistic admission leaves free
_ENDLESS = 1 << 60


def block_count(tokens: int) -> int:
    """Blocks that hold this many tokens."""
    return -(-tokens // BLOCK_TOKENS)


class KVBlocks:
    """Counts of blocks. `kv_tokens` is what they hold, inf for no limit."""

    def __init__(self, kv_tokens: float) -> None:
        self.limited = kv_tokens < float("inf")
        self.blocks = int(kv_tokens // BLOCK_TOKENS) if self.limited else _ENDLESS
        self._watermark = max(1, int((self.blocks + 1) * WATERMARK_RATIO)) if self.limited else 0
        self.free = self.blocks
        self.reserved = 0  # the most that all who run may come to need
        self._due = [0] * BLOCK_TOKENS  # who decodes, by the phase of the step that needs a block
        self._decoding = 0

    @property
    def used(self) -> int:
        return self.blocks - self.free

    @property
    def used_ratio(self) -> float:
        """The share in use, 0..1; 0 without a limit."""
        return self.used / self.blocks if self.limited and self.blocks else 0.0

    def admissible_tokens(self, optimistic: bool) -> int:
        """Tokens in whole blocks that may be held before an admission is refused."""
        return (self.blocks - (self._watermark if optimistic else 0)) * BLOCK_TOKENS

    def fits(self, most_tokens: int) -> bool:
        """Whether a sequence that comes to this length can ever be served."""
        return block_count(most_tokens) <= self.blocks

    def admit(self, tokens: int, most_tokens: int, optimistic: bool, alone: bool) -> bool:
        """Gives blocks for `tokens`; refuses, and changes nothing, without room for it."""
        needed, most = block_count(tokens), block_count(most_tokens)
        if optimistic:
            room = self.free - needed >= (0 if alone else self._watermark)
        else:
            room = self.blocks - self.reserved >= most
        room = room and needed <= self.free
        if room:
            self.free -= needed
            self.reserved += most
        return room

    def release(self, tokens: int, most_tokens: int) -> None:
        """Takes back the blocks of a sequence that has this many tokens in the cache."""
        self.free += block_count(tokens)
        self.reserved -= block_count(most_tokens)

    def start_decoding(self, cached_tokens: int, step: int) -> int:
        """A sequence with so many tokens in the cache decodes from `step` on; its phase."""
        phase = (step - cached_tokens) % BLOCK_TOKENS
        self._due[phase] += 1
        self._decoding += 1
        return phase

    def stop_decoding(self, phase: int) -> None:
        self._due[phase] -= 1
        self._decoding -= 1

    def due(self, step: int) -> int:
        """Blocks that decoding needs at `step`."""
        return self._due[step % BLOCK_TOKENS]

    def grow(self, step: int, steps: int) -> None:
        """Gives decoding what it needs in `steps` steps from `step` on."""
        cycles, rest = divmod(steps, BLOCK_TOKENS)
        self.free -= cycles * self._decoding
        self.free -= sum(self._due[(step + i) % BLOCK_TOKENS] for i in range(rest))

    def steps_within(self, room: int, step: int) -> int:
        """Steps from `step` on whose blocks fit in `room` of them."""
        if not self._decoding or room >= _ENDLESS // 2:
            return _ENDLESS
        cycles, room = divmod(room, self._decoding)
        steps = 0
        while room >= self._due[(step + steps) % BLOCK_TOKENS]:
            room -= self._due[(step + steps) % BLOCK_TOKENS]
            steps += 1
        return cycles * BLOCK_TOKENS + steps
