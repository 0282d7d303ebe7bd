"""How much evidence paired differences hold: a test martingale E; never what to do about it.

If the treatment changes nothing, a pair's difference D and −D are equally likely given |D| and
the past (the order inside a pair is a fair coin). Each part below is then a nonnegative
supermartingale started at 1, and so is their mixture: P(ever E ≥ 1/α) ≤ α (Ville's inequality).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_ndtr

Floats = NDArray[np.float64]

WEIGHT_NORMALISED, WEIGHT_SIGN, WEIGHT_MAGNITUDE = 0.4, 0.3, 0.3
SIGN_STAKES = (0.3, 0.6, 0.8, 0.95)
# (stake, clip in units of the running root mean square)
MAGNITUDE_BETS = tuple((stake, c) for c in (1.0, 2.0) for stake in (0.1, 0.2, 0.35, 0.5, 0.7, 0.9))

# The mixture's precision, best near 50 pairs at α = 0.05 (Howard et al. 2021, section 3.5).
_PAIRS_BEST_AT, _ALPHA_BEST_AT = 50, 0.05
ETA = _PAIRS_BEST_AT / (-2 * math.log(_ALPHA_BEST_AT) + math.log(1 - 2 * math.log(_ALPHA_BEST_AT)))

# An odd bound keeps the sign a fair coin, and the squares of 1e5 pairs finite.
_LARGEST_X = 1e100


@dataclass(frozen=True)
class EProcess:
    """The one-sided process after `n` differences; H0: the treatment changes nothing.

    For harm, feed another one with −d. `scale` is the size of a difference expected before the
    test (same units as the differences); a wrong one costs power, never validity.
    """

    scale: float
    n: int = 0
    total: float = 0.0  # Σx, x = d / scale
    squares: float = 0.0  # Σx²
    ups: int = 0
    downs: int = 0
    magnitudes: tuple[float, ...] = (0.0,) * len(MAGNITUDE_BETS)  # log wealth of each bet
    max_log_e: float = 0.0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.scale) and self.scale > 0):
            raise ValueError(f"scale={self.scale!r}: give a finite number above 0")

    @classmethod
    def of(cls, differences: Iterable[float], scale: float) -> EProcess:
        """The process after all `differences`, in their order."""
        process = cls(scale)
        for difference in differences:
            process = process.update(difference)
        return process

    def update(self, difference: float) -> EProcess:
        """The process after one more pair; raises ValueError where it is not a finite number."""
        if not math.isfinite(difference):
            raise ValueError(f"difference={difference!r}: leave out the pair, it has no number")
        largest = _LARGEST_X * self.scale
        x = max(-largest, min(largest, difference)) / self.scale
        n, squares = self.n + 1, self.squares + x * x
        grown = replace(
            self,
            n=n,
            total=self.total + x,
            squares=squares,
            ups=self.ups + (difference > 0),
            downs=self.downs + (difference < 0),
            magnitudes=_bet_on_magnitude(self.magnitudes, x, math.sqrt(squares / n)),
        )
        return replace(grown, max_log_e=max(self.max_log_e, grown.log_e))

    @property
    def log_normalised(self) -> float:
        """Ln of ∫ exp(λΣx − λ²Σx²/2) over a half-normal λ of precision ETA."""
        return float(_log_normalised(np.float64(self.total), np.float64(self.squares)))

    @property
    def log_sign(self) -> float:
        """Ln of the mean wealth (1 + l)^ups (1 − l)^downs over the stakes l; zeros are skipped."""
        stakes = (self.ups * math.log1p(s) + self.downs * math.log1p(-s) for s in SIGN_STAKES)
        return _log_mean_exp(tuple(stakes))

    @property
    def log_magnitude(self) -> float:
        """Ln of the mean wealth Π(1 + l clip(x / (c rms), −1, 1)) over the bets (l, c)."""
        return _log_mean_exp(self.magnitudes)

    @property
    def log_e(self) -> float:
        """Ln E now."""
        parts = (
            math.log(WEIGHT_NORMALISED) + self.log_normalised,
            math.log(WEIGHT_SIGN) + self.log_sign,
            math.log(WEIGHT_MAGNITUDE) + self.log_magnitude,
        )
        return _log_mean_exp(parts) + math.log(len(parts))

    @property
    def p_value(self) -> float:
        """Anytime-valid: min(1, 1 / max E)."""
        return math.exp(-self.max_log_e)

    @property
    def confidence(self) -> float:
        """1 − p, in 0..1."""
        return -math.expm1(-self.max_log_e)


def log_e_paths(differences: Floats, scale: float) -> Floats:
    """Ln E after every pair, for many sequences at once: shape (..., n) in and out.

    The same numbers as `EProcess` gives one by one.
    """
    largest = _LARGEST_X * scale
    x = np.clip(differences, -largest, largest) / scale
    squares = np.cumsum(x * x, axis=-1)
    ups = np.cumsum(differences > 0, axis=-1)
    downs = np.cumsum(differences < 0, axis=-1)
    sign = np.stack([ups * math.log1p(s) + downs * math.log1p(-s) for s in SIGN_STAKES])
    parts = (
        math.log(WEIGHT_NORMALISED) + _log_normalised(np.cumsum(x, axis=-1), squares),
        math.log(WEIGHT_SIGN / len(SIGN_STAKES)) + np.logaddexp.reduce(sign),
        math.log(WEIGHT_MAGNITUDE / len(MAGNITUDE_BETS)) + _log_magnitude_paths(x, squares),
    )
    paths: Floats = np.logaddexp.reduce(np.stack(parts))
    return paths


def _log_magnitude_paths(x: Floats, squares: Floats) -> Floats:
    rms = np.sqrt(squares / np.arange(1, x.shape[-1] + 1))
    ratio = np.divide(x, rms, out=np.zeros_like(x), where=rms > 0)
    total = np.full_like(x, -np.inf)
    for stake, c in MAGNITUDE_BETS:
        wealth = np.cumsum(np.log1p(stake * np.clip(ratio / c, -1, 1)), axis=-1)
        total = np.logaddexp(total, wealth)
    return total


def _log_normalised(total: Floats | np.float64, squares: Floats | np.float64) -> Floats:
    information = squares + ETA
    z = total / np.sqrt(information)
    value: Floats = math.log(2) + 0.5 * np.log(ETA / information) + 0.5 * z * z + log_ndtr(z)
    return value


def _bet_on_magnitude(wealth: tuple[float, ...], x: float, rms: float) -> tuple[float, ...]:
    if rms == 0:
        return wealth
    ratio = x / rms
    return tuple(
        w + math.log1p(stake * max(-1.0, min(1.0, ratio / c)))
        for w, (stake, c) in zip(wealth, MAGNITUDE_BETS, strict=True)
    )


def _log_mean_exp(logs: tuple[float, ...]) -> float:
    top = max(logs)
    return top + math.log(math.fsum(math.exp(value - top) for value in logs) / len(logs))
