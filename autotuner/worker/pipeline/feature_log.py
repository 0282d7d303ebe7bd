"""The rows of the requests taken: their mean per column since the start, and the last ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from autotuner.fronts.ring import Ring
from autotuner.worker.pipeline.features import COLUMNS, FEATURES_VERSION, FeatureRow

KEPT_ROWS = 4096  # chosen: below 2 MB, and some minutes of a busy worker


@dataclass(frozen=True, slots=True)
class _Kept:
    at: float
    row: FeatureRow


class FeatureLog:
    """Must be used from one event loop. `wall` is the clock of the records (s)."""

    def __init__(self, wall: Callable[[], float], kept_rows: int = KEPT_ROWS) -> None:
        self._wall = wall
        self._sums = [0.0] * len(COLUMNS)
        self._count = 0
        self._ring: Ring[_Kept] = Ring(kept_rows)

    def append(self, row: FeatureRow) -> None:
        self._count += 1
        for index, value in zip(row.indices, row.values, strict=True):
            self._sums[index] += value
        self._ring.append(_Kept(self._wall(), row))

    def page(self, after: int, limit: int) -> dict[str, Any]:
        """Columns, count and means of all rows so far, and the rows after the cursor.

        Means are of 0 while there is no row. The means between two pages follow from count x mean.
        """
        page = self._ring.read(after, limit)
        return {
            "version": FEATURES_VERSION,
            "columns": COLUMNS,
            "count": self._count,
            "mean": [total / max(self._count, 1) for total in self._sums],
            "next": page.next,
            "oldest": page.oldest,
            "overrun": page.overrun,
            "rows": [
                {
                    "seq": seq,
                    "at": kept.at,
                    "indices": kept.row.indices,
                    "values": kept.row.values,
                }
                for seq, kept in page.records
            ],
        }
