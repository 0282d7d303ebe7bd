"""What the model predicts, corrected by what was measured: a Gaussian process over settings.

The truth is taken as f = mean of the worlds + e + a + b. e: errors of the model's figures, whose
covariance is that of the worlds (ensemble Kalman filter: Evensen, 1994). a: what the analytic
model's formulas miss against the discrete-step simulator, which shows it. b: what both miss. a and
b are smooth over the level positions (squared exponential). The discrete-step simulator gives
differences of nominal + a, an experiment differences of f (co-kriging: Kennedy and O'Hagan, 2000).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import product

import numpy as np
from scipy.linalg import block_diag, cho_factor, cho_solve

from autotuner.agent.stepmodel import Floats, Ints

_JITTER = 1e-4


def _nothing() -> Floats:
    return np.zeros(0)


def _nowhere() -> Ints:
    return np.zeros(0, dtype=np.int64)


def _apart() -> Floats:
    return np.zeros((0, 0))


@dataclass(frozen=True)
class Readings:
    """Values at rows of the settings: arrays [reading]; `deviations` are standard deviations.

    `shared` [reading, source]: noise that readings have in common, as what a standard normal draw
    of each source adds to each of them; no source where it is empty.
    """

    rows: Ints = field(default_factory=_nowhere)
    values: Floats = field(default_factory=_nothing)
    deviations: Floats = field(default_factory=_nothing)
    shared: Floats = field(default_factory=_apart)

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def noise(self) -> Floats:
        """The covariance of the readings' noise, [reading, reading]."""
        own = np.diag(self.deviations**2)
        return own + self.shared @ self.shared.T if self.shared.size else own


@dataclass(frozen=True)
class Beliefs:
    """Before any evidence. Row 0 is the incumbent.

    `axes` [settings, knob]; `nominal` [settings]: the calibrated model's value; `worlds`
    [world, settings]: the values under other figures of the model.
    """

    axes: Floats
    nominal: Floats
    worlds: Floats


@dataclass(frozen=True)
class Scales:
    """Prior deviations. `worlds` multiplies the worlds' own; `formula` (a) and `structure` (b) are
    in the objective's units; `length` is on the axes.
    """

    worlds: float
    formula: float
    structure: float
    length: float


# Chosen; the first of each is the most likely before anything was measured.
_WORLDS = (1.0, 2.0, 0.5)
_STRUCTURE = (0.05, 0.02, 0.12)
_LENGTH = (0.4, 0.2)
_OFFSET = 0.1  # what the model has wrong of all settings alike: it tells nothing of gains
_FORMULA = (0.1, 0.2, 0.05)


@dataclass(frozen=True)
class Gains:
    """Gain over the incumbent per row: mean and standard deviation, [settings]."""

    mean: Floats
    deviation: Floats
    scales: Scales


def gains(
    beliefs: Beliefs, measured: Readings, simulated: Readings, seen: tuple[float, float] | None
) -> Gains:
    """The gain of every row over row 0, under the likeliest scales.

    `measured` and `simulated` (by the discrete-step simulator of the nominal model): values
    relative to row 0's. `seen`: row 0's absolute value and its deviation, None where unknown.
    """
    known, choices = _Known.of(beliefs, measured, simulated, seen), list(_choices())
    likely = [_log_prior(scales) for scales in choices]
    if len(known.values):
        likely = np.add(likely, _log_evidence(beliefs, known, choices)).tolist()
    return _posterior(beliefs, known, choices[int(np.argmax(likely))])


def _choices() -> Iterator[Scales]:
    for choice in product(_WORLDS, _FORMULA, _STRUCTURE, _LENGTH):
        yield Scales(*choice)


def _log_prior(scales: Scales) -> float:
    """A half to each step away from the first choice."""
    unlikely = (scales.worlds != _WORLDS[0]) + (scales.structure != _STRUCTURE[0])
    unlikely += (scales.formula != _FORMULA[0]) + (scales.length != _LENGTH[0])
    return -0.7 * float(unlikely)


def _log_evidence(beliefs: Beliefs, known: _Known, choices: Sequence[Scales]) -> Floats:
    """The log evidence for each of the scales, up to a constant common to all."""
    of_truth, of_formula = np.hsplit(known.weights, 2)
    worlds = _spread(beliefs, known.rows) @ of_truth.T
    offset = _OFFSET**2 * np.outer(of_truth.sum(axis=1), of_truth.sum(axis=1))
    certain = known.noise + offset + _JITTER**2 * np.eye(len(known.values))
    at, both = beliefs.axes[known.rows], of_truth + of_formula
    smooth = {length: _smooth(at, at, length) for length in _LENGTH}
    formula = {length: both @ smooth[length] @ both.T for length in _LENGTH}
    structure = {length: of_truth @ smooth[length] @ of_truth.T for length in _LENGTH}
    among = np.stack(
        [
            certain
            + s.worlds**2 * (worlds.T @ worlds)
            + s.formula**2 * formula[s.length]
            + s.structure**2 * structure[s.length]
            for s in choices
        ]
    )
    factor = np.linalg.cholesky(among)
    values = np.broadcast_to(known.values[:, None], (len(among), len(known.values), 1))
    white = np.linalg.solve(factor, values)
    volume = np.log(np.diagonal(factor, axis1=1, axis2=2)).sum(axis=1)
    found: Floats = -0.5 * (white[:, :, 0] ** 2).sum(axis=1) - volume
    return found


def _posterior(beliefs: Beliefs, known: _Known, scales: Scales) -> Gains:
    """The gains under these scales."""
    mean = beliefs.worlds.mean(axis=0)
    every = np.arange(len(mean))
    spread = _spread(beliefs, every) * scales.worlds
    own, at = spread - spread[:, :1], beliefs.axes[known.rows]
    structure, formula = scales.structure**2, scales.formula**2
    near = _smooth(beliefs.axes, beliefs.axes[:1], scales.length)[:, 0]
    prior = (own**2).sum(axis=0) + 2 * (formula + structure) * (1 - near)
    if not len(known.values):
        return Gains(mean - mean[0], _deviation(prior), scales)
    smooth = _smooth(at, at, scales.length)
    worlds = spread[:, known.rows].T @ spread[:, known.rows]
    truth = _OFFSET**2 + worlds + (formula + structure) * smooth
    covariance = np.block([[truth, formula * smooth], [formula * smooth, formula * smooth]])
    among = known.weights @ covariance @ known.weights.T + known.noise
    # To the gains: of f at every row less f at row 0.
    far = _smooth(beliefs.axes, at, scales.length)
    far = far - far[0]
    of_truth = own.T @ spread[:, known.rows] + (formula + structure) * far
    to_known = np.hstack([of_truth, formula * far]) @ known.weights.T
    factor = cho_factor(among + _JITTER**2 * np.eye(len(among)), lower=True)
    variance = prior - (to_known * cho_solve(factor, to_known.T).T).sum(axis=1)
    gain = mean - mean[0] + to_known @ cho_solve(factor, known.values)
    return Gains(gain, _deviation(variance), scales)


def _spread(beliefs: Beliefs, rows: Ints) -> Floats:
    """A factor of the worlds' covariance, [world, row]."""
    found: Floats = beliefs.worlds[:, rows] - beliefs.worlds[:, rows].mean(axis=0)
    return np.asarray(found / np.sqrt(max(len(found) - 1, 1)))


def _deviation(variance: Floats) -> Floats:
    return np.sqrt(np.maximum(variance, _JITTER**2))


@dataclass(frozen=True)
class _Known:
    """All readings as sums of f and a at few rows: `weights` [reading, 2·rows], surprises."""

    rows: Ints
    weights: Floats
    values: Floats  # less what was expected
    noise: Floats  # [reading, reading]

    @classmethod
    def of(
        cls,
        beliefs: Beliefs,
        measured: Readings,
        simulated: Readings,
        seen: tuple[float, float] | None,
    ) -> _Known:
        mean = beliefs.worlds.mean(axis=0)
        rows = np.unique(np.concatenate([[0], measured.rows, simulated.rows]).astype(np.int64))
        n = len(rows)
        differences = np.zeros((len(measured), 2 * n))
        differences[np.arange(len(measured)), np.searchsorted(rows, measured.rows)] += 1
        differences[:, 0] -= 1  # row 0 is the least
        played = np.zeros((len(simulated), 2 * n))
        played[np.arange(len(simulated)), n + np.searchsorted(rows, simulated.rows)] += 1
        played[:, n] -= 1
        parts = [differences, played]
        values = [
            measured.values - (mean[measured.rows] - mean[0]),
            simulated.values - (beliefs.nominal[simulated.rows] - beliefs.nominal[0]),
        ]
        noise = [measured.noise, simulated.noise]
        if seen is not None:
            parts.append(np.eye(1, 2 * n))
            values.append(np.array([seen[0] - mean[0]]))
            noise.append(np.array([[seen[1] ** 2]]))
        return cls(rows, np.vstack(parts), np.concatenate(values), block_diag(*noise))


def _smooth(left: Floats, right: Floats, length: float) -> Floats:
    """The squared exponential's correlation, [left, right]."""
    square = (left**2).sum(1)[:, None] + (right**2).sum(1)[None, :] - 2 * left @ right.T
    return np.asarray(np.exp(-np.maximum(square, 0) / (2 * length**2)))
