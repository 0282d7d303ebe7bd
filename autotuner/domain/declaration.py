"""A test that a person asked for, in place of one that the agent thought of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from autotuner.domain.experiment import Plan
from autotuner.domain.knobs import Value


@dataclass(frozen=True)
class Declaration:
    """`changes` on top of the incumbent (none: an A/A); `plan` is how it shall be run.

    `id` is that of the request in the history; `who` asked for it, and `note` says why.
    """

    id: int
    who: str
    changes: Mapping[str, Value]
    plan: Plan
    note: str = ""

    @property
    def is_aa(self) -> bool:
        return not self.changes
