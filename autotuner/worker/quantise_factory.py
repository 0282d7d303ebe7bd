"""From a model folder to the factory of its int8 layers: calibration and compiled code joined."""

from __future__ import annotations

from pathlib import Path

import torch

from autotuner.worker.int8_linear import Int8Factory
from autotuner.worker.ops.build import library
from autotuner.worker.quantise_calibration import gains_of


def int8_factory(model: Path, adapter: Path | None = None) -> Int8Factory:
    """Makes the int8 layers of `model`, whole or in slices, with as many threads as torch has.

    The first one for a model, with or without an adapter, runs it over the calibration texts, which
    takes about as long as loading it (see `quantise_calibration`); other processes that want the
    same wait meanwhile.
    """
    return Int8Factory(gains_of(model, adapter=adapter), library(), torch.get_num_threads())
