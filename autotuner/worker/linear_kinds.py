"""Which kind of linear layer a weight dtype asks for."""

from __future__ import annotations

from pathlib import Path

from autotuner.worker.models.load import plain_factory
from autotuner.worker.models.parts import LinearFactory
from autotuner.worker.quantise_factory import int8_factory
from autotuner.worker.settings import WeightDtype


def linear_factory(model: Path, weight_dtype: WeightDtype) -> LinearFactory:
    """Makes the layers of `model`; int8 ones need what is known of the model's activations."""
    return int8_factory(model) if weight_dtype == "int8" else plain_factory
