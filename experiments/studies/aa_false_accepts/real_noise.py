"""Real noise: the same benchmark, run again and again for months on the same cloud machines.

From the data set of TUNA (AzurePublicDataset, CC-BY), where it lies beside the checkout.
"""

from __future__ import annotations

import csv
from collections import defaultdict
from pathlib import Path

import numpy as np

from autotuner.abtest.eprocess import Floats

FOLDER = Path(__file__).resolve().parents[4] / "shared" / "data" / "vm-noise"
HIGHER_IS_BETTER = {
    "postgres_ro_latency_ms_b8ms": False,
    "redis_get_rps_b8ms": True,
    "redis_get_rps_d8sv5": True,
}

Machines = list[Floats]  # one series of log outcomes a machine, in the order of time


def read(folder: Path = FOLDER) -> list[Machines]:
    """The machines of each benchmark; empty where the data is not there."""
    paths = {folder / f"{name}.csv": higher for name, higher in HIGHER_IS_BETTER.items()}
    if not all(path.is_file() for path in paths):
        return []
    return [_machines(path, higher) for path, higher in paths.items()]


def stretches(
    rng: np.random.Generator, benchmarks: list[Machines], tests: int, slots: int
) -> Floats:
    """One uncut stretch of one machine's runs for each test: one run is one slot.

    Drift and autocorrelation stay as they were. Every machine is as likely as any other.
    """
    series = [machine for machines in benchmarks for machine in machines]
    return np.stack([_stretch(rng, series[rng.integers(len(series))], slots) for _ in range(tests)])


def two_machines(
    rng: np.random.Generator, benchmarks: list[Machines], tests: int, slots: int
) -> tuple[Floats, Floats]:
    """For each test a stretch of two different machines that ran the same benchmark."""
    drawn = []
    for _ in range(tests):
        machines = benchmarks[rng.integers(len(benchmarks))]
        first, second = rng.choice(len(machines), size=2, replace=False)
        drawn.append([_stretch(rng, machines[index], slots) for index in (first, second)])
    both = np.array(drawn)
    return both[:, 0], both[:, 1]


def _stretch(rng: np.random.Generator, series: Floats, slots: int) -> Floats:
    start = int(rng.integers(series.size - slots + 1))
    return series[start : start + slots]


def _machines(path: Path, higher_is_better: bool) -> Machines:
    runs: dict[str, list[tuple[str, float]]] = defaultdict(list)
    with path.open(encoding="utf-8", newline="") as lines:
        for line in csv.DictReader(lines):
            runs[line["VM_id"]].append((line["starttime"], float(line["value"])))
    sign = 1.0 if higher_is_better else -1.0
    return [sign * np.log([value for _, value in sorted(of)]) for of in runs.values()]
