"""Two weeks of request rates of three production models, one value every ten minutes.

From ServeGen (Alibaba, Apache-2.0), where it lies beside the checkout; a stand-in elsewhere.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from autotuner.forecast.series import DAY_S, Series

FOLDER = Path(__file__).resolve().parents[4] / "shared" / "data" / "traces"
NAMES = ("m-small", "m-mid", "m-large")
STEP_S = 600.0
DAY_STEPS = 144
# The traces tell no date; forecasts want one. Any will do: no weekday is known to any model.
START = 20_000 * DAY_S


def read(name: str, folder: Path = FOLDER) -> Series:
    """The trace; raises FileNotFoundError where the data is not there."""
    path = folder / f"servegen_rate_{name}.csv"
    table = np.loadtxt(path, delimiter=",", skiprows=1, dtype=np.float64)
    return Series(START + table[:, 0], table[:, 1], STEP_S)


def made_up(name: str) -> Series:
    """A daily wave with noise that has memory: shows that the study runs, nothing else."""
    rng = np.random.default_rng(sum(map(ord, name)))
    steps = np.arange(14 * DAY_STEPS, dtype=np.float64)
    noise = np.zeros(len(steps))
    for i in range(1, len(steps)):
        noise[i] = 0.9 * noise[i - 1] + rng.normal()
    wave = 10.0 * np.sin(2 * np.pi * steps / DAY_STEPS)
    return Series(START + STEP_S * steps, np.maximum(0.0, 50.0 + wave + 2 * noise), STEP_S)


def series_by_name() -> tuple[dict[str, Series], str]:
    """The series, and where they come from."""
    if all((FOLDER / f"servegen_rate_{name}.csv").is_file() for name in NAMES):
        return {name: read(name) for name in NAMES}, "ServeGen"
    return {name: made_up(name) for name in NAMES}, "made up: the real data is not here"


def before(series: Series, end: int) -> Series:
    """The first `end` values."""
    return Series(series.times[:end], series.values[:end], series.step_s)
