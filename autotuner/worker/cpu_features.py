"""What this machine's processor offers; no torch, so that the front may ask too."""

from __future__ import annotations

from pathlib import Path

from autotuner.worker.settings import WeightDtype

# x86 names, then the one of 64-bit Arm, as the Linux kernel spells them.
BF16_CPU_FLAGS = frozenset({"avx512_bf16", "amx_bf16", "bf16"})
CPU_INFO = Path("/proc/cpuinfo")


def default_weight_dtype(device: str) -> WeightDtype:
    """bfloat16 where the device computes in it, else float32."""
    return "bfloat16" if device != "cpu" or cpu_has_bf16_units() else "float32"


def cpu_has_bf16_units(cpu_info: Path = CPU_INFO) -> bool:
    """Whether the kernel lists bfloat16 instructions; False where there is no such list."""
    return not BF16_CPU_FLAGS.isdisjoint(cpu_flags(cpu_info))


def cpu_flags(cpu_info: Path = CPU_INFO) -> frozenset[str]:
    """The processor's abilities as the kernel lists them; none where there is no such list."""
    try:
        lines = cpu_info.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return frozenset()
    line = next((line for line in lines if line.startswith(("flags", "Features"))), "")
    return frozenset(line.split())
