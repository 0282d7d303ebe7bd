"""How long the history is kept, by what it is."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from autotuner.config.model import Model

Days = Annotated[float, Field(gt=0)]


class KeepConfig(Model):
    """In days; what is not given is kept for `keep_days`. Experiments are kept for good."""

    samples: Days | None = Field(
        None,
        description="the series; thinned before they are dropped. What was served and failed by "
        "the hour is kept for good",
    )
    thin_after: Days | None = Field(
        14.0,
        description="series older than this become hourly means, though never what a policy's "
        "forecast.history_days still needs; null: never",
    )
    held_decisions: Days | None = Field(
        None, description="decisions with nothing to apply; the others are kept for good"
    )
    forecasts: Days | None = Field(30.0, description="those that a later one has superseded")
    anomalies: Days | None = None
    alerts: Days | None = Field(None, description="those that have ended")
    delivered: Days | None = Field(90.0, description="notifications that were delivered")
    silences: Days | None = Field(None, description="those that have ended")
    model_checks: Days | None = Field(None, description="the agent's predictions and what came")
    heartbeats: Days | None = Field(30.0, description="the last word of daemons that are gone")
