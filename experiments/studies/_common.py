"""What every study shares: the machine, the versions, checks, and how results are written.

Nothing of what is studied.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

CPU_INFO = Path("/proc/cpuinfo")
MEM_INFO = Path("/proc/meminfo")
FEATURES = ("avx2", "avx512f", "avx512_bf16", "avx512_vnni", "amx_bf16", "amx_int8", "bf16")

Direction = Literal["at_least", "at_most"]


def machine() -> dict[str, Any]:
    """What the figures depend on: processor, cores, memory, system; no name or address."""
    info = _fields(CPU_INFO)
    flags = set((info.get("flags") or info.get("Features") or "").split())
    kilobytes = _fields(MEM_INFO).get("MemTotal", "0 kB").split()[0]
    return {
        "cpu": info.get("model name") or platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "cpu_features": [name for name in FEATURES if name in flags],
        "memory_gib": round(int(kilobytes) / 2**20, 1),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
    }


def versions(*packages: str) -> dict[str, str]:
    """Installed version by distribution name; "not installed" where there is none."""
    return {package: _version(package) for package in packages}


def check(
    name: str, value: float, unit: str, target: float, direction: Direction
) -> dict[str, Any]:
    """One claim and whether it holds; not-a-number never holds."""
    holds = value >= target if direction == "at_least" else value <= target
    return {
        "name": name,
        "value": value,
        "unit": unit,
        "target": target,
        "direction": direction,
        "holds": bool(holds),
    }


def results(
    study: str,
    *,
    packages: Sequence[str],
    seeds: Sequence[int],
    rows: Sequence[Mapping[str, Any]],
    checks: Sequence[Mapping[str, Any]],
    **more: Any,
) -> dict[str, Any]:
    """The content of results.json; `more` are further fields of the study's own."""
    return {
        "study": study,
        "date": datetime.now(UTC).date().isoformat(),
        "machine": machine(),
        "versions": versions("autotuner", *packages),
        "seeds": list(seeds),
        **more,
        "rows": [dict(row) for row in rows],
        "checks": [dict(item) for item in checks],
    }


def write(out: Path, content: Mapping[str, Any]) -> Path:
    """Writes OUT/results.json, making the folder; refuses not-a-number. Returns its path."""
    out.mkdir(parents=True, exist_ok=True)
    path = out / "results.json"
    path.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    return path


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _fields(path: Path) -> dict[str, str]:
    """The first value of each "name : value" line of a /proc file; none where it is missing."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return {}
    pairs = (line.partition(":") for line in reversed(lines))
    return {name.strip(): value.strip() for name, _, value in pairs}
