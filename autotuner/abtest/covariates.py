"""What of a pair's difference its traffic explains; never what the settings did.

Why it leaves the test valid: swapping the arms' labels of a pair turns its difference D into −D and
its row of covariates z into −z (both compare treatment against control), and the coefficients b
depend on earlier pairs alone. So D − bz turns into its negative too: given its size and the past,
its sign is as fair a coin as that of D, whatever b is, and whether or not z matters. The same
holds for every shift of D. A poor b costs power, never validity.

That a covariate is no effect of the settings is for the policy to know: one that the arm moves
takes a part of the arm's effect with it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from autotuner.abtest.eprocess import Floats
from autotuner.abtest.folding import Folding
from autotuner.domain.experiment import Pair, SlotOutcome

Row = tuple[float, ...]

# Chosen. The least pairs to learn from, besides one for each coefficient; the weight of "it
# explains nothing", in pairs; and the farthest that a covariate is followed, in its own root mean
# squares so far (an odd bound, so that the sign stays a fair coin).
_LEAST_PAIRS, _RIDGE_PAIRS, _FARTHEST = 1, 1.0, 3.0


def _offered_load(slot: SlotOutcome) -> float:
    """Requests per second that were sent, those that lived under both arms too."""
    return (slot.requests + slot.straddlers) / slot.counted_s if slot.counted_s > 0 else math.nan


def _per_request(tokens: int, slot: SlotOutcome) -> float:
    return tokens / slot.requests if slot.requests else math.nan


COVARIATES: dict[str, Callable[[SlotOutcome], float]] = {
    "offered_load": _offered_load,
    "prompt_tokens": lambda slot: _per_request(slot.prompt_tokens, slot),
    "output_tokens": lambda slot: _per_request(slot.output_tokens, slot),
}


def row(control: SlotOutcome, treatment: SlotOutcome, names: Sequence[str]) -> Row:
    """Log ratios of treatment to control; 0 where one of them is missing or nothing.

    Raises ValueError for a name that is no covariate.
    """
    unknown = [name for name in names if name not in COVARIATES]
    if unknown:
        raise ValueError(f"covariates={unknown}: give some of {', '.join(COVARIATES)}")
    return tuple(_log_ratio(COVARIATES[n](control), COVARIATES[n](treatment)) for n in names)


def explained(
    earlier: Sequence[Pair],
    control: SlotOutcome,
    treatment: SlotOutcome,
    names: tuple[str, ...],
) -> float:
    """The part of the next pair's difference that covariates explain; 0 without any."""
    if not names:
        return 0.0
    seen = tuple((row(p.control, p.treatment, names), p.difference) for p in earlier)
    return _remembered(len(names), seen).predict(row(control, treatment, names))


@dataclass(frozen=True, eq=False)
class Regression:
    """Ridge regression of the difference on the covariates, one pair at a time.

    The intercept stands for the effect of the settings and is never predicted away. A prediction
    is 0 until there are enough pairs, and while those that it would have made for past pairs left
    more unexplained than none would have: on traffic that explains nothing it stays out of the way.
    """

    n: int
    products: Floats  # Σ wwᵀ, w = (1, covariates)
    targets: Floats  # Σ wD
    saved: float = 0.0  # Σ squares that past predictions took off the difference

    @classmethod
    def start(cls, n: int) -> Regression:
        """For `n` covariates, before the first pair."""
        return cls(0, np.zeros((n + 1, n + 1)), np.zeros(n + 1))

    def predict(self, covariates: Row) -> float:
        """What the covariates alone explain of the next difference."""
        return self._raw(covariates)[1] if self.saved > 0 else 0.0

    def update(self, covariates: Row, difference: float) -> Regression:
        """With one more pair; raises ValueError where a number is not finite."""
        if not math.isfinite(difference) or not all(map(math.isfinite, covariates)):
            raise ValueError(f"covariates={covariates}, difference={difference}: must be finite")
        effect, slope_part = self._raw(covariates)
        mean = float(self.targets[0]) / self.n if self.n else 0.0
        with_it = difference - effect - slope_part
        w = np.array([1.0, *covariates])
        return replace(
            self,
            n=self.n + 1,
            products=self.products + np.outer(w, w),
            targets=self.targets + w * difference,
            saved=self.saved + (difference - mean) ** 2 - with_it**2 if slope_part else self.saved,
        )

    def _raw(self, covariates: Row) -> tuple[float, float]:
        """The intercept, and what the covariates add to it; zeros while there are few pairs."""
        if self.n < _LEAST_PAIRS + len(covariates):
            return 0.0, 0.0
        mean_squares = np.diag(self.products)[1:] / self.n
        penalty = np.diag([0.0, *(_RIDGE_PAIRS * mean_squares)])
        # lstsq: a covariate that never moved has no coefficient, and takes none.
        coefficients = np.linalg.lstsq(self.products + penalty, self.targets, rcond=None)[0]
        reach = _FARTHEST * np.sqrt(mean_squares)
        z = np.clip(np.array(covariates), -reach, reach)
        return float(coefficients[0]), float(coefficients[1:] @ z)


def _with_pair(regression: Regression, seen: tuple[Row, float]) -> Regression:
    return regression.update(*seen)


_remembered = Folding(Regression.start, _with_pair)


def _log_ratio(control: float, treatment: float) -> float:
    if not (control > 0 and treatment > 0):  # NaN compares as False
        return 0.0
    return math.log(treatment) - math.log(control)
