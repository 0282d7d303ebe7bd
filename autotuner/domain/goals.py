"""What the operator wants of a target: the goal that candidates are compared by."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class GoalKind(StrEnum):
    """GOODPUT: the largest goodput. The others take as little as they can of something while the
    SLO's attainment stays at the goal's: COST money per token, ENERGY joules per token, DEVICES
    the number of devices in use.
    """

    GOODPUT = "goodput"
    COST = "cost"
    ENERGY = "energy"
    DEVICES = "devices"


@dataclass(frozen=True)
class Goal:
    """`attainment`: 0..1; with GOODPUT nothing is tested at or above it, else it is the floor."""

    kind: GoalKind = GoalKind.GOODPUT
    attainment: float = 0.99

    @property
    def saves(self) -> bool:
        """Whether there is something to gain where the attainment is met."""
        return self.kind is not GoalKind.GOODPUT
