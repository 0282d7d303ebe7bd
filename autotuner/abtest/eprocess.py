"""How much evidence paired differences hold: a test martingale E; never what to do about it.

If the treatment changes nothing, a pair's difference D and −D are equally likely given |D| and
the past (the order inside a pair is a fair coin). Each part below is then a nonnegative
supermartingale started at 1, and so is their mixture: P(ever E ≥ 1/α) ≤ α (Ville's inequality).

The same holds while D, given the past, is symmetric about any centre c ≤ 0, which may move: E
tests "not better" and not only "no change". With y = λD, f(y) = exp(y − y²/2) is a bump of height
√e at 1, so that (f(c + x) + f(c − x))/2 rises in c up to 0 for x ≤ 1, where it is
cosh(x)exp(−x²/2) ≤ 1, and stays below √e(1 + e⁻²)/2 < 1 for x > 1. The bets on signs and on
magnitudes are odd and nondecreasing in D, hence worth at most 0.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_ndtr

Floats = NDArray[np.float64]

# Chosen by the median pairs of simulated tests of 0.25 to 3 sd (study ab_power; the bets need no
# known scale, and so weigh most), and so that the bets alone reach 20 by seven equal pairs, six
# never: a wrong scale then delays no clear case, and every shift below the data is refuted together
# with zero.
WEIGHT_NORMALISED, WEIGHT_SIGN, WEIGHT_MAGNITUDE = 0.2, 0.1, 0.7
SIGN_STAKES = (0.3, 0.6, 0.8, 0.95)
# A pair's log odds of being positive are taken to be twice this for each running root mean square
# of its size, up to two of them: normal noise of mean g sd has such odds, with a tilt of
# g√(1 + g²), but a pair of a heavy tail tells less than its size says.
TILTS = (0.16, 0.22, 0.3, 0.4, 0.6, 0.9, 1.4, 4.0)
LARGEST_RATIO = 2.0

# The mixture's precision, best near 50 pairs at α = 0.05 (Howard et al. 2021, section 3.5).
_PAIRS_BEST_AT, _ALPHA_BEST_AT = 50, 0.05
ETA = _PAIRS_BEST_AT / (-2 * math.log(_ALPHA_BEST_AT) + math.log(1 - 2 * math.log(_ALPHA_BEST_AT)))

# An odd bound keeps the sign a fair coin, and the squares of 1e5 pairs finite.
_LARGEST_X = 1e100

_LOG_WIN = np.log1p(SIGN_STAKES)
_LOG_LOSS = np.log1p(-np.asarray(SIGN_STAKES))
_TILTS = np.asarray(TILTS)


def _nothing() -> Floats:
    return np.zeros(())


@dataclass(frozen=True, eq=False)
class EProcess:
    """The one-sided process after `n` differences; H0: the treatment is not better.

    For harm, feed another one with −d. `scale` is the size of a difference expected before the
    test (same units as the differences); a wrong one costs power, never validity. Many processes
    run side by side: the arrays have the shape of what `update` is fed, `magnitudes` one axis more,
    the last. An update takes the same time after any number of pairs.
    """

    scale: float
    n: int = 0
    total: Floats = field(default_factory=_nothing)  # Σx, x = d / scale
    squares: Floats = field(default_factory=_nothing)  # Σx²
    ups: Floats = field(default_factory=_nothing)
    downs: Floats = field(default_factory=_nothing)
    magnitudes: Floats = field(default_factory=_nothing)  # log wealth of each bet
    max_log_e: Floats = field(default_factory=_nothing)

    def __post_init__(self) -> None:
        if not (math.isfinite(self.scale) and self.scale > 0):
            raise ValueError(f"scale={self.scale!r}: give a finite number above 0")

    @classmethod
    def side_by_side(cls, scale: float, count: int) -> EProcess:
        """`count` processes before their first pair."""
        zeros = np.zeros(count)
        bets = np.zeros((count, len(TILTS)))
        return cls(scale, 0, zeros, zeros, zeros, zeros, bets, zeros)

    @classmethod
    def of(cls, differences: Iterable[Floats | float], scale: float) -> EProcess:
        """The process after all `differences`, in their order."""
        process = cls(scale)
        for difference in differences:
            process = process.update(difference)
        return process

    def update(self, difference: Floats | float) -> EProcess:
        """The process after one more pair; raises ValueError where it is not a finite number."""
        if not np.isfinite(difference).all():
            raise ValueError(f"difference={difference!r}: leave out the pair, it has no number")
        x = _in_scale(np.asarray(difference, dtype=np.float64), self.scale)
        n, squares = self.n + 1, self.squares + x * x
        grown = replace(
            self,
            n=n,
            total=self.total + x,
            squares=squares,
            ups=self.ups + (x > 0),
            downs=self.downs + (x < 0),
            magnitudes=self.magnitudes + _log_gain(x, np.sqrt(squares / n)),
        )
        return replace(grown, max_log_e=np.maximum(self.max_log_e, grown.log_e))

    def __getitem__(self, index: int) -> EProcess:
        """One of the processes that run side by side."""
        fields = ("total", "squares", "ups", "downs", "magnitudes", "max_log_e")
        return replace(self, **{name: getattr(self, name)[index] for name in fields})

    @property
    def log_normalised(self) -> Floats:
        """Ln of ∫ exp(λΣx − λ²Σx²/2) over a half-normal λ of precision ETA."""
        return _log_normalised(self.total, self.squares)

    @property
    def log_sign(self) -> Floats:
        """Ln of the mean wealth (1 + l)^ups (1 − l)^downs over the stakes l; zeros are skipped."""
        return _log_mean_exp(_log_sign_wealth(self.ups, self.downs))

    @property
    def log_magnitude(self) -> Floats:
        """Ln of the mean wealth Π(1 + tanh(t clip(x / rms, −2, 2))) over the tilts t."""
        return _log_mean_exp(self.magnitudes) if self.n else _nothing()

    @property
    def log_e(self) -> Floats:
        """Ln E now."""
        return _log_mixture(self.log_normalised, self.log_sign, self.log_magnitude)

    @property
    def p_value(self) -> Floats:
        """Anytime-valid: min(1, 1 / max E)."""
        return np.exp(-self.max_log_e)

    @property
    def confidence(self) -> Floats:
        """1 − p, in 0..1."""
        return -np.expm1(-self.max_log_e)


def log_e_paths(differences: Floats, scale: float) -> Floats:
    """Ln E after every pair, for many sequences at once: shape (..., n) in and out.

    The same numbers as `EProcess` gives one by one.
    """
    x = _in_scale(differences, scale)
    squares = np.cumsum(x * x, axis=-1)
    ups, downs = (np.cumsum(side, axis=-1, dtype=np.float64) for side in (x > 0, x < 0))
    return _log_mixture(
        _log_normalised(np.cumsum(x, axis=-1), squares),
        _log_mean_exp(_log_sign_wealth(ups, downs)),
        _log_magnitude_paths(x, squares),
    )


def _log_magnitude_paths(x: Floats, squares: Floats) -> Floats:
    """Bet by bet, so that memory stays that of a few arrays of the paths' size."""
    rms = np.sqrt(squares / np.arange(1, x.shape[-1] + 1))
    total = np.full_like(x, -np.inf)
    for bet in range(len(TILTS)):
        gain = _log_gain(x, rms, slice(bet, bet + 1))[..., 0]
        total = np.logaddexp(total, np.cumsum(gain, axis=-1))
    return total - math.log(len(TILTS))


def _in_scale(differences: Floats, scale: float) -> Floats:
    largest = _LARGEST_X * scale
    return np.clip(differences, -largest, largest) / scale


def _log_gain(x: Floats, rms: Floats, bets: slice = slice(None)) -> Floats:
    """What each bet gains by one pair, shape (..., bets); 0 while every difference was 0."""
    ratio = np.divide(x, rms, out=np.zeros_like(x), where=rms > 0)[..., None]
    tilted = _TILTS[bets] * np.clip(ratio, -LARGEST_RATIO, LARGEST_RATIO)
    # 1 + tanh(y) = 2 / (1 + exp(−2y)): twice the chance that was given to the sign that came.
    gain: Floats = math.log(2) - np.logaddexp(0.0, -2 * tilted)
    return gain


def _log_normalised(total: Floats, squares: Floats) -> Floats:
    information = squares + ETA
    z = total / np.sqrt(information)
    value: Floats = math.log(2) + 0.5 * np.log(ETA / information) + 0.5 * z * z + log_ndtr(z)
    return value


def _log_sign_wealth(ups: Floats, downs: Floats) -> Floats:
    wealth: Floats = ups[..., None] * _LOG_WIN + downs[..., None] * _LOG_LOSS
    return wealth


def _log_mixture(normalised: Floats, sign: Floats, magnitude: Floats) -> Floats:
    mixture: Floats = np.logaddexp(
        math.log(WEIGHT_NORMALISED) + normalised,
        np.logaddexp(math.log(WEIGHT_SIGN) + sign, math.log(WEIGHT_MAGNITUDE) + magnitude),
    )
    return mixture


def _log_mean_exp(logs: Floats) -> Floats:
    """Over the last axis."""
    top = logs.max(axis=-1, keepdims=True)
    mean: Floats = top[..., 0] + np.log(np.exp(logs - top).mean(axis=-1))
    return mean
