"""Which part of a model one rank holds: slices of layers, stretches of layers; no processes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor


def split(total: int, parts: int, index: int) -> tuple[int, int]:
    """The `index`-th of `parts` stretches of range(total); the first ones are longer."""
    base, longer = divmod(total, parts)
    first = index * base + min(index, longer)
    return first, first + base + (index < longer)


@dataclass(frozen=True)
class Shard:
    """One rank's place: `rank` of `size` that split each layer, `stage` of `stages` of layers.

    `reduce` sums a tensor over the ranks that split a layer, and may do so in place; None where
    there is one.
    """

    rank: int = 0
    size: int = 1
    stage: int = 0
    stages: int = 1
    reduce: Callable[[Tensor], Tensor] | None = None

    def layers(self, total: int) -> range:
        """The layers of this stage."""
        return range(*split(total, self.stages, self.stage))

    def part(self, total: int) -> slice:
        """The rank's part of `total` heads, rows or columns."""
        return slice(*split(total, self.size, self.rank))

    @property
    def is_first_stage(self) -> bool:
        return self.stage == 0

    @property
    def is_last_stage(self) -> bool:
        return self.stage == self.stages - 1


WHOLE = Shard()
