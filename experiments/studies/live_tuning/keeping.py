"""Which workloads were measured before, with the same versions; each tells of its machine."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiments.studies import _common

PACKAGES = ("torch", "numpy", "stable-baselines3")


@dataclass(frozen=True)
class Part:
    """One workload's share of results.json."""

    rows: list[dict[str, Any]]
    checks: list[dict[str, Any]]


def kept(path: Path, workloads: Sequence[str]) -> dict[str, Part]:
    """The parts of `workloads` in `path`; none where it is of other versions.

    All comparisons are within a workload, so that workloads may come from several machines.
    """
    if not path.exists():
        return {}
    before = json.loads(path.read_text(encoding="utf-8"))
    if before["versions"] != _common.versions("autotuner", *PACKAGES):
        return {}
    measured = [row["workload"] for row in before["rows"]]
    return {name: _part(before, name) for name in workloads if name in measured}


def _part(before: dict[str, Any], name: str) -> Part:
    return Part(
        [row for row in before["rows"] if row["workload"] == name],
        [check for check in before["checks"] if check["name"].startswith(f"{name}: ")],
    )
