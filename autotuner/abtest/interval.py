"""Which shifts of the differences the data still allow: the test of `eprocess`, inverted.

The line is cut into cells by a grid of shifts that is fixed before the first pair. A true shift in
(g₋, g] is tested by E of (D − g), which is valid for every centre up to g. The lower bound is the
lowest cell that was never refuted; the one with the true shift in it is refuted, at any look ever,
with probability at most α. So the bound holds for every shift, not only for those on the grid, and
the grid costs resolution alone. The upper bound mirrors it with E of (g − D).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from autotuner.abtest.eprocess import EProcess, Floats

Interval = tuple[float, float]
EVERYTHING: Interval = (-math.inf, math.inf)

# In scales. Chosen: steps of 0.5% of the scale near zero, of 2% of the shift itself far from it.
_FINEST, _RELATIVE, _FARTHEST = 0.005, 0.02, 512.0


@dataclass(frozen=True, eq=False)
class ShiftTests:
    """Two processes per shift g of the grid: `upward` of D − g, `downward` of g − D.

    `upward` refutes "the shift is g or less", `downward` "g or more". One update costs the same
    after any number of pairs.
    """

    span: Interval
    shifts: Floats  # ascending
    upward: EProcess
    downward: EProcess

    @classmethod
    def start(
        cls, scale: float, span: Interval = EVERYTHING, watched: Iterable[float] = ()
    ) -> ShiftTests:
        """Before the first pair. The shifts 0 and `watched` are on the grid.

        `span` holds the shifts that are possible at all (−1..1 for shares).
        """
        shifts = _grid(scale, span, watched)
        processes = EProcess.side_by_side(scale, shifts.size)
        return cls(span, shifts, processes, processes)

    def update(self, difference: float) -> ShiftTests:
        """After one more pair; raises ValueError where `difference` is not a finite number."""
        off = difference - self.shifts
        return replace(self, upward=self.upward.update(off), downward=self.downward.update(-off))

    def above(self, shift: float) -> EProcess:
        """The process against "the shift is `shift` or less"; KeyError where it isn't watched."""
        return self.upward[self._index(shift)]

    def under(self, shift: float) -> EProcess:
        """The process against "the shift is `shift` or more"; KeyError where it isn't watched."""
        return self.downward[self._index(shift)]

    def bounds(self, alpha: float) -> Interval:
        """A lower and an upper bound of the shift, EACH valid at every look with 1 − `alpha`.

        They never widen, and agree with the verdicts: the lower one is 0 or more as soon as the
        test of "no better" is refuted (with all below it). A side on which nothing is known is the
        span's end. Where the shift drifts so that both bounds cross, no shift fits all pairs:
        the bounds are then those of the present look alone.
        """
        threshold = -math.log(alpha)
        low, high = self._ends(self.upward.max_log_e, self.downward.max_log_e, threshold)
        if low < high:
            return low, high
        return self._ends(self.upward.log_e, self.downward.log_e, threshold)

    def interval(self, alpha: float) -> Interval:
        """The two-sided interval: covers the shift at every look with 1 − `alpha`."""
        return self.bounds(alpha / 2)

    def _ends(self, upward: Floats, downward: Floats, threshold: float) -> Interval:
        below = _leading(upward >= threshold)
        above = _leading((downward >= threshold)[::-1])
        low = float(self.shifts[below - 1]) if below else -math.inf
        high = float(self.shifts[-above]) if above else math.inf
        return max(low, self.span[0]), min(high, self.span[1])

    def _index(self, shift: float) -> int:
        index = int(np.searchsorted(self.shifts, shift))
        if index == self.shifts.size or self.shifts[index] != shift:
            raise KeyError(f"shift={shift!r} is not on the grid: name it at the start")
        return index


def _leading(flags: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> int:
    """How many are true before the first that is not."""
    return int(flags.size if flags.all() else np.argmin(flags))


def _grid(scale: float, span: Interval, watched: Iterable[float]) -> Floats:
    """Shifts inside `span` and those watched, ascending."""
    unit = min(scale, (span[1] - span[0]) / 4)
    bend = _FINEST / _RELATIVE
    count = math.floor(math.asinh(_FARTHEST / bend) / _RELATIVE)
    half = unit * bend * np.sinh(_RELATIVE * np.arange(1, count + 1))
    points = np.concatenate([-half, half, [end for end in span if math.isfinite(end)]])
    inside = points[(points >= span[0]) & (points <= span[1])]
    return np.unique(np.concatenate([inside, [0.0], [*watched]]))
