"""What share of requests a target owes its users, and how much of what may fail is kept back."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from autotuner.config.model import Model
from autotuner.domain.error_budget import DAY_S, AvailabilityGoal


class AvailabilityConfig(Model):
    """The error budget: 1 - objective of the requests of the window may fail."""

    objective: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.9995, description="share of requests that are to be served"
    )
    window_days: Annotated[float, Field(gt=0, le=90)] = Field(
        30.0, description="days that are looked back, rolling"
    )
    reserve: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.1, description="no test starts while less than this share of the budget is left"
    )

    def to_domain(self) -> AvailabilityGoal:
        return AvailabilityGoal(self.objective, self.window_days * DAY_S, self.reserve)
