"""A version of the store: what became of one file. A value and its JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class DatasetVersion:
    """What one file added. `read` = `kept` + both kinds of duplicates + the sum of `dropped`.

    `at`: epoch seconds. `source`: the file's name, `sha256` of its bytes. `held_out`: how many of
    those kept are never trained on. `dropped`: a reason → how many. `embedding`: what near-
    duplicates were told by.
    """

    number: int
    at: float
    source: str
    sha256: str
    read: int
    kept: int
    held_out: int
    exact_duplicates: int
    near_duplicates: int
    embedding: str
    dropped: Mapping[str, int] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        return {**asdict(self), "dropped": dict(self.dropped)}


def version_from_dict(raw: Mapping[str, Any]) -> DatasetVersion:
    """What `as_dict` gave; raises KeyError, TypeError or ValueError for another."""
    return DatasetVersion(
        number=int(raw["number"]),
        at=float(raw["at"]),
        source=str(raw["source"]),
        sha256=str(raw["sha256"]),
        read=int(raw["read"]),
        kept=int(raw["kept"]),
        held_out=int(raw["held_out"]),
        exact_duplicates=int(raw["exact_duplicates"]),
        near_duplicates=int(raw["near_duplicates"]),
        embedding=str(raw["embedding"]),
        dropped={str(reason): int(count) for reason, count in raw["dropped"].items()},
    )
