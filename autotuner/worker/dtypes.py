"""Which number formats weights and activations take on a device."""

from __future__ import annotations

import torch

from autotuner.worker.cpu_features import cpu_has_bf16_units
from autotuner.worker.settings import WeightDtype


def activation_dtype(weights: WeightDtype, device: torch.device) -> torch.dtype:
    """The dtype that is computed in; int8 weights go with the device's best."""
    if weights == "float32":
        return torch.float32
    if weights == "bfloat16" or device.type != "cpu" or cpu_has_bf16_units():
        return torch.bfloat16
    return torch.float32
