"""How the agent learns from what a target does: checks of its model, and further training."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from autotuner.config.model import Model, Seconds


class LearningConfig(Model):
    """Slow jobs beside the cycles; none of them changes a target's settings."""

    check_every_s: Seconds | None = Field(
        300.0, description="how often the model's predictions are compared; null: never"
    )
    calibrate_every_s: Seconds = Field(
        3600.0, description="how long a calibration is judged before a new one takes its place"
    )
    improve_every_h: Annotated[float, Field(gt=0)] | None = Field(
        24.0, description="how often further training of the agent is tried; null: never"
    )
    min_checks: Annotated[int, Field(ge=1)] = Field(
        60, description="checked figures of the last days below which nothing is trained"
    )
    steps: Annotated[int, Field(ge=1000)] = Field(
        300_000, description="environment steps of a further training"
    )
    time_limit_s: Seconds = Field(1800.0, description="after which a training is given up")
