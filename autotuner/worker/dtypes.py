"""Which number format the weights take on a device."""

from __future__ import annotations

from pathlib import Path

import torch

from autotuner.worker.engine_options import WeightDtype

# x86 names, then the one of 64-bit Arm, as the Linux kernel spells them.
BF16_CPU_FLAGS = frozenset({"avx512_bf16", "amx_bf16", "bf16"})
CPU_INFO = Path("/proc/cpuinfo")


def resolve_dtype(name: WeightDtype, device: torch.device) -> torch.dtype:
    """The dtype of that name; "auto" is bfloat16 where the device computes in it, else float32."""
    if name == "auto":
        has_units = device.type != "cpu" or cpu_has_bf16_units()
        return torch.bfloat16 if has_units else torch.float32
    return torch.bfloat16 if name == "bfloat16" else torch.float32


def cpu_has_bf16_units(cpu_info: Path = CPU_INFO) -> bool:
    """Whether the kernel lists bfloat16 instructions; False where there is no such list."""
    try:
        lines = cpu_info.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return False
    flags = next((line for line in lines if line.startswith(("flags", "Features"))), "")
    return not BF16_CPU_FLAGS.isdisjoint(flags.split())
