"""What do compressed and rarer averages save in training over a slow network, and at what loss?

Processes in network namespaces of their own, joined by links of limited bandwidth.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from experiments.studies import _common
from experiments.studies.gradient_compression.figure import draw
from experiments.studies.gradient_compression.model import make_model
from experiments.studies.gradient_compression.network import what_is_missing
from experiments.studies.gradient_compression.runs import (
    FP16,
    HIERARCHICAL,
    KINDS,
    MBIT_PER_S,
    ONE_BUCKET,
    PER_PROCESS,
    PLAIN,
    POWERSGD,
    Run,
    carry_out,
    with_efficiency,
)

SEEDS = (0, 1)
UPDATES, QUICK_UPDATES = 40, 10
HIDDEN, LAYERS = 128, 4

Rows = Sequence[dict[str, Any]]


def run(quick: bool, out: Path) -> dict[str, Any]:
    """Trains by every kind on 2 and 4 nodes; writes results and figure into `out`.

    Raises ConfigError without root's rights; a quick run then goes over the loopback, and says so.
    """
    missing = what_is_missing() if quick else None
    if missing is not None:
        print(f"gradient_compression: {missing}; this quick run has no network of its own")
    runs = quick_runs() if quick else all_runs()
    updates = QUICK_UPDATES if quick else UPDATES
    with tempfile.TemporaryDirectory(prefix="gradient-compression-") as folder:
        base = make_model(Path(folder) / "base", HIDDEN, LAYERS, seed=0)
        gradient_mb = (base / "model.safetensors").stat().st_size / 1e6
        measured = carry_out(runs, updates, base, Path(folder), in_namespaces=missing is None)
    rows = with_efficiency(measured)
    content = _common.results(
        "gradient_compression",
        packages=("torch", "transformers"),
        seeds=sorted({run.seed for run in runs}),
        rows=rows,
        checks=checks(rows),
        gradient_mb=round(gradient_mb, 2),
        examples_per_process_and_update=PER_PROCESS,
        mbit_per_s=MBIT_PER_S if missing is None else None,
        cores_used=len(os.sched_getaffinity(0)),
    )
    _common.write(out, content)
    draw(rows).savefig(out / "figure.png", dpi=120)
    return content


def quick_runs() -> list[Run]:
    return [
        *(Run(kind, 2, seed=0) for kind in (PLAIN, FP16, POWERSGD, HIERARCHICAL)),
        Run(PLAIN, 2, seed=0, mbit_per_s=None),
    ]


def all_runs() -> list[Run]:
    """Times of what only times differ in are taken once; losses by every seed."""
    once = [
        Run(PLAIN, 1, seed=0),
        *(Run(PLAIN, nodes, seed=0, mbit_per_s=None) for nodes in (2, 4)),
        *(Run(ONE_BUCKET, nodes, seed=0) for nodes in (2, 4)),
        *(Run(kind, 2, seed=0, per_node=2) for kind in (PLAIN, HIERARCHICAL)),
    ]
    kinds = [kind for kind in KINDS if kind != ONE_BUCKET]
    return [*once, *(Run(kind, nodes, s) for s in SEEDS for nodes in (2, 4) for kind in kinds)]


def checks(rows: Rows) -> list[dict[str, Any]]:
    """The claims, on the most nodes of one process each that were measured; means over seeds, of
    times the least.
    """
    nodes = max(row["nodes"] for row in rows)

    def of(kind: str, field: str, *, limited: bool = True) -> float:
        values = [
            row[field]
            for row in rows
            if (row["kind"], row["nodes"], row["per_node"]) == (kind, nodes, 1)
            and (row["mbit_per_s"] is not None) == limited
        ]
        return min(values) if field == "step_s" else fmean(values)

    sent, held_out = "sent_kb_per_node_and_update", "held_out_loss"
    free = of(PLAIN, "step_s", limited=False)
    on = f"on {nodes} nodes"
    return [
        _common.check(
            f"traffic of plain against PowerSGD of rank 2 {on}",
            of(PLAIN, sent) / of(POWERSGD, sent),
            *("times", 10, "at_least"),
        ),
        _common.check(
            f"traffic of plain against weights averaged every 4 updates {on}",
            of(PLAIN, sent) / of(HIERARCHICAL, sent),
            *("times", 3, "at_least"),
        ),
        _common.check(
            f"traffic of plain against fp16 {on}",
            of(PLAIN, sent) / of(FP16, sent),
            *("times", 1.8, "at_least"),
        ),
        _common.check(
            f"step of plain against PowerSGD {on}",
            of(PLAIN, "step_s") / of(POWERSGD, "step_s"),
            *("times as long", 1.5, "at_least"),
        ),
        _common.check(
            f"step of plain against hierarchical {on}",
            of(PLAIN, "step_s") / of(HIERARCHICAL, "step_s"),
            *("times as long", 1.5, "at_least"),
        ),
        _common.check(
            f"step with PowerSGD against plain on an unlimited network {on}",
            of(POWERSGD, "step_s") / free,
            *("times as long", 1.25, "at_most"),
        ),
        _common.check(
            f"held-out loss, PowerSGD against plain {on}",
            of(POWERSGD, held_out) / of(PLAIN, held_out),
            *("times", 1.1, "at_most"),
        ),
        _common.check(
            f"held-out loss, hierarchical against plain {on}",
            of(HIERARCHICAL, held_out) / of(PLAIN, held_out),
            *("times", 1.1, "at_most"),
        ),
    ]
