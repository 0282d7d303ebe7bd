"""The labelled series: the benchmark's, where they lie beside the checkout, else drawn ones."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from autotuner.forecast.series import FloatArray

FOLDER = Path(__file__).resolve().parents[4] / "shared" / "data" / "nab"
CHOSEN_ON, CONFIRMED_ON = "realAWSCloudwatch", "realKnownCause"
DRAWN = "drawn"
_STEP_S = 300.0


@dataclass(frozen=True, eq=False)
class Labelled:
    """A series as it was recorded: `times` in UTC seconds, windows as (first, last) indices."""

    folder: str
    name: str
    times: FloatArray
    values: FloatArray
    windows: tuple[tuple[int, int], ...]

    @property
    def step_s(self) -> float:
        return float(np.median(np.diff(self.times)))


def read(folder: Path = FOLDER) -> list[Labelled]:
    """Both folders' series by name; none where the data is not there."""
    path = folder / "labels" / "combined_windows.json"
    if not path.is_file():
        return []
    labels = json.loads(path.read_text("utf-8"))
    files = [
        p for part in (CHOSEN_ON, CONFIRMED_ON) for p in (folder / "data" / part).glob("*.csv")
    ]
    return [_series(file, labels[f"{file.parent.name}/{file.name}"]) for file in sorted(files)]


def _series(file: Path, windows: list[list[str]]) -> Labelled:
    with file.open(encoding="utf-8", newline="") as lines:
        rows = [(_seconds(row["timestamp"]), float(row["value"])) for row in csv.DictReader(lines)]
    times, values = np.array(rows).T
    # Clocks were set back in places: a stamp means its first occurrence.
    index = {at: i for i, at in reversed(list(enumerate(times.tolist())))}
    limits = tuple((index[_seconds(first)], index[_seconds(last)]) for first, last in windows)
    return Labelled(file.parent.name, file.stem, times, values, limits)


def _seconds(stamp: str) -> float:
    return datetime.fromisoformat(stamp).replace(tzinfo=UTC).timestamp()


def drawn(seed: int, count: int = 2, points: int = 1500) -> list[Labelled]:
    """Daily patterns under noise, each with one spike and one shift of level."""
    return [_drawn(np.random.default_rng((seed, i)), f"daily-{i}", points) for i in range(count)]


def _drawn(rng: np.random.Generator, name: str, points: int) -> Labelled:
    times = np.arange(points, dtype=np.float64) * _STEP_S
    pattern = 100.0 + 20.0 * np.sin(2 * np.pi * times / 86_400.0)
    values: FloatArray = np.asarray(pattern + rng.normal(0.0, 2.0, points), dtype=np.float64)
    spike, shift = points // 2, 4 * points // 5
    values[spike] += 120.0
    values[shift : shift + 40] += 60.0
    windows = ((spike - 30, spike + 30), (shift - 30, shift + 30))
    return Labelled(DRAWN, name, times, values, windows)
