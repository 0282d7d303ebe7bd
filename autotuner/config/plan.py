"""A test that an operator declares: what to change, on which target, and how to run it."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from autotuner.config.experiment import ExperimentFields
from autotuner.config.model import Model
from autotuner.domain.knobs import Value


class ExperimentPlan(Model):
    """A file under experiments/plans. Without `changes` it is an A/A: both arms are the incumbent.

    `experiment`: the fields of the policy's own `experiment` that this test changes.
    """

    target: str = Field(min_length=1)
    name: str = Field(min_length=1, description="what the test is called in lists")
    note: str = Field("", description="why it is made")
    changes: dict[str, Value] = Field({}, description="knobs and values, on top of what runs")
    experiment: ExperimentFields = ExperimentFields()

    def overrides(self) -> dict[str, Any]:
        """The fields that were given, as JSON values; for `ExperimentConfig.with_changes`."""
        return self.experiment.model_dump(mode="json", exclude_unset=True)

    def payload(self) -> dict[str, Any]:
        """What a request for this test carries through the history."""
        return {"changes": dict(self.changes), "plan": self.overrides()}
