"""Which kind of linear layer a weight dtype asks for."""

from __future__ import annotations

from pathlib import Path

import torch

from autotuner.worker.bf16_linear import Bf16Factory, has_fast_kernel
from autotuner.worker.models.load import plain_factory
from autotuner.worker.models.parts import LinearFactory
from autotuner.worker.ops.build import library
from autotuner.worker.quantise_factory import int8_factory
from autotuner.worker.settings import WeightDtype


def linear_factory(
    model: Path, weight_dtype: WeightDtype, adapter: Path | None = None
) -> LinearFactory:
    """Makes the layers of `model`; int8 ones need what is known of the activations, which an
    adapter changes.
    """
    if weight_dtype == "int8":
        return int8_factory(model, adapter)
    return _bf16_factory() if weight_dtype == "bfloat16" else plain_factory


def _bf16_factory() -> LinearFactory:
    """Compiled code where it is faster and can be built; with as many threads as torch has."""
    compiled = library() if has_fast_kernel() else None
    return plain_factory if compiled is None else Bf16Factory(compiled, torch.get_num_threads())
