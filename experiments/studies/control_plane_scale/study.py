"""What does a target cost its daemon, and do 100 of them fit on two cores?

A real `autotuner run` on made-up workers behind real sockets, watched from outside.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from experiments.studies import _common
from experiments.studies.control_plane_scale.figure import draw
from experiments.studies.control_plane_scale.running import Job, measured

CYCLE_S = 5.0  # the default
LIMIT_S, LIMIT_MIB, LIMIT_EXPONENT = CYCLE_S, 1536.0, 1.2


@dataclass(frozen=True)
class Plan:
    """Numbers of targets, and for how long each is warmed up and counted."""

    targets: tuple[int, ...]
    warm_s: float
    counted_s: float
    cycle_s: float = CYCLE_S


FULL = Plan((1, 3, 10, 30, 100), warm_s=40.0, counted_s=60.0)
QUICK = Plan((1, 3), warm_s=1.0, counted_s=4.0, cycle_s=1.0)


def run(quick: bool, out: Path) -> dict[str, Any]:
    """Runs a daemon per number of targets; writes results.json and figure.png into `out`."""
    return planned(QUICK if quick else FULL, out)


def planned(plan: Plan, out: Path) -> dict[str, Any]:
    """As `run`, by another plan."""
    rows = [
        measured(Job(targets, plan.cycle_s, plan.warm_s, plan.counted_s))
        for targets in plan.targets
    ]
    content = _common.results(
        "control_plane_scale",
        packages=("apscheduler", "requests", "sqlalchemy", "torch"),
        seeds=[],
        rows=rows,
        checks=checks(rows),
        cpu_exponent=exponent(rows),
        cpu_cores_per_further_target=slope(rows),
    )
    _common.write(out, content)
    draw(rows, out / "figure.png")
    return content


def exponent(rows: Sequence[dict[str, Any]]) -> float:
    """Slope of log CPU over log targets between the two largest numbers; 1: in proportion.

    What a daemon takes however few its targets are weighs least there, so that it hides nothing.
    """
    few, many = rows[-2:]
    ratio = np.log(many["targets"] / few["targets"])
    return float(np.log(many["cpu_cores"] / few["cpu_cores"]) / ratio)


def slope(rows: Sequence[dict[str, Any]]) -> float:
    """Cores that a target more takes."""
    numbers = [row["targets"] for row in rows]
    return float(np.polyfit(numbers, [row["cpu_cores"] for row in rows], 1)[0])


def checks(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The claims, which are about the row of most targets."""
    most = rows[-1]
    of = f"{most['targets']} targets, a cycle every 5 s"
    claims: tuple[tuple[str, float, str, float], ...] = (
        (f"{of}: P99 of a cycle", most["cycle_p99_s"], "s", LIMIT_S),
        (f"{of}: cycles that came late or were left out", most["misfires"], "", 0.0),
        (f"{of}: resident memory", most["memory_mib"], "MiB", LIMIT_MIB),
        ("growth of the CPU time with targets, exponent", exponent(rows), "", LIMIT_EXPONENT),
    )
    return [_common.check(*claim, "at_most") for claim in claims]
