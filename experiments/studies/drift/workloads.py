"""What is asked of the service: chat and code requests, and a day's rates.

Azure's LLM inference traces of 2023 (CC-BY) and ServeGen's rates (Apache-2.0) where they lie beside
the checkout. Elsewhere lengths are drawn from the quantiles of the same traces, and the day is the
one written here.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from autotuner.agent.stepmodel import Floats
from autotuner.agent.traffic import SampleMix

FOLDER = Path(__file__).resolve().parents[4] / "shared" / "data" / "traces"
LENGTHS = {"chat": "azure_llm_2023_conv.csv", "code": "azure_llm_2023_code.csv"}
RATES = "servegen_rate_m-small.csv"
DAY_PARTS = 8
_DAY, _DAY_STEPS = 2, 144  # the third day of the trace; a value every ten minutes

# Of the traces: prompt and output tokens at these shares of the requests.
_SHARES = (0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 1.0)
_QUANTILES = {
    "chat": ((2, 207, 396, 1020, 1189, 2734, 4083, 14050), (7, 54, 85, 129, 395, 424, 451, 1000)),
    "code": ((3, 147, 578, 1469, 2744, 5186, 7302, 7437), (6, 7, 9, 13, 24, 55, 90, 1899)),
}
_DRAWN = 4000
# Of the same day of the same trace, over its mean.
_DAY_RATES = (0.66, 0.62, 0.95, 1.34, 0.95, 1.05, 1.17, 1.25)


def lengths(folder: Path = FOLDER) -> tuple[dict[str, SampleMix], str]:
    """The requests of each kind, and where they come from."""
    if all((folder / name).is_file() for name in LENGTHS.values()):
        return {kind: _read(folder / name) for kind, name in LENGTHS.items()}, "Azure 2023"
    return {kind: _made(kind) for kind in LENGTHS}, "drawn from the quantiles of Azure 2023"


def day(folder: Path = FOLDER) -> tuple[tuple[float, ...], str]:
    """The rate of each of eight parts of a day, over the day's mean, and where it comes from."""
    path = folder / RATES
    if not path.is_file():
        return _DAY_RATES, "as written in the study"
    rates = np.loadtxt(path, delimiter=",", skiprows=1)[:, 1]
    parts = rates[_DAY * _DAY_STEPS : (_DAY + 1) * _DAY_STEPS].reshape(DAY_PARTS, -1).mean(axis=1)
    return tuple((parts / parts.mean()).round(3).tolist()), "ServeGen m-small, day 3"


def _read(path: Path) -> SampleMix:
    table = np.loadtxt(path, delimiter=",", skiprows=1, usecols=(1, 2), dtype=np.int64, ndmin=2)
    prompts, outputs = np.maximum(table, 1).T.tolist()
    return SampleMix(prompts, outputs)


def _made(kind: str) -> SampleMix:
    """Prompts and outputs by themselves: how they go together is not in the quantiles."""
    rng = np.random.default_rng(sum(map(ord, kind)))

    def draw(quantiles: tuple[int, ...]) -> Floats:
        drawn = np.exp(np.interp(rng.random(_DRAWN), _SHARES, np.log(quantiles)))
        return np.maximum(drawn.round(), 1.0)

    prompts, outputs = (draw(quantiles).astype(int).tolist() for quantiles in _QUANTILES[kind])
    return SampleMix(prompts, outputs)
