"""Who gets which slot of the KV cache, and which slots one attention call reads; pure.

A sequence owns one slot from its first token to its end. Short sequences take slots from the
bottom and long ones from the top, so that neighbours have like lengths and decode attention can
read whole stretches of slots as views, without gathering.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Sequence
from dataclasses import dataclass

LONG_TOKENS = 512  # prompt plus answer from which a sequence counts as long; chosen
# One more attention call costs as much as attention over this many cached tokens. Measured on
# Zen 5: about 70 for float32's fused kernel and 450 for bfloat16's matmuls; this lies between.
CALL_COST_TOKENS = 250


class SlotPool:
    """The free slots, lowest first; pure bookkeeping."""

    def __init__(self, slots: int) -> None:
        self.size = slots
        self._free = list(range(slots))

    def __len__(self) -> int:
        return len(self._free)

    def take(self, total_tokens: int) -> int:
        """The lowest free slot for a short sequence, the highest for a long one."""
        return self._free.pop(-1 if total_tokens >= LONG_TOKENS else 0)

    def give_back(self, slot: int) -> None:
        insort(self._free, slot)


@dataclass(frozen=True)
class SlotRun:
    """Slots lo to hi (exclusive) that one attention call reads up to `max_len` tokens each."""

    lo: int
    hi: int
    max_len: int

    @property
    def cost_tokens(self) -> int:
        return (self.hi - self.lo) * self.max_len + CALL_COST_TOKENS


def plan_runs(rows: Sequence[tuple[int, int]]) -> list[SlotRun]:
    """Contiguous runs that cover (slot, length) rows, which must come ordered by slot.

    Neighbours are merged while the padding that a merger adds (holes, shorter rows) costs less
    than the call it saves. Each slot is in exactly one run; O(rows).
    """
    runs: list[SlotRun] = []
    for slot, length in rows:
        runs.append(SlotRun(slot, slot + 1, length))
        while len(runs) > 1 and _merged(*runs[-2:]).cost_tokens <= sum(
            r.cost_tokens for r in runs[-2:]
        ):
            right = runs.pop()
            runs[-1] = _merged(runs[-1], right)
    return runs


def _merged(left: SlotRun, right: SlotRun) -> SlotRun:
    return SlotRun(left.lo, right.hi, max(left.max_len, right.max_len))
