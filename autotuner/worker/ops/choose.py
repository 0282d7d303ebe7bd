"""Which implementation of the operations a device gets."""

from __future__ import annotations

import torch

from autotuner.worker.ops.build import library
from autotuner.worker.ops.interface import Ops
from autotuner.worker.ops.native import NativeOps
from autotuner.worker.ops.reference import ReferenceOps


def ops_for(device: torch.device, num_threads: int) -> Ops:
    """Compiled code on a CPU, built at first use; plain torch elsewhere and where it can't be."""
    compiled = library() if device.type == "cpu" else None
    return ReferenceOps() if compiled is None else NativeOps(compiled, num_threads)
