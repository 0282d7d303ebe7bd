"""From what a target told to a step model, by non-negative least squares, and its other figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from scipy.optimize import nnls

from autotuner.agent.figures import Estimate, Figures, Past, figures
from autotuner.agent.stepmodel import CPU_PRIOR, Bools, Floats, StepModel
from autotuner.domain.telemetry import StepRecord

KINDS = 4  # sequences, prompt tokens, KV tokens read, prefill pairs
MIN_RECORDS = 40  # below it nothing is fitted; chosen
_OUTLIER_DEVIATIONS = 6.0
_REFITS = 6
_BEND_DEVIATIONS = 4.0  # a bend this far from none is told; chosen: one fit in 15,000 errs
_LEAST_BEND = 0.03  # and only one that changes the largest batch's step by this share; chosen


@dataclass(frozen=True)
class Calibration:
    """A step model with how well it is known.

    `standard_errors` are those of (t0_s, decode_s, prefill_s, context_s, pair_s), 0 where the
    prior's coefficient was kept. `residual_s` is the standard deviation of what the model leaves
    over. `bend_s`: seconds per squared sequence by which steps depart from the straight line over
    the batch, known only where it is significant; the model stays linear. `figures`: what is known
    beside the steps.
    """

    model: StepModel
    standard_errors: tuple[float, float, float, float, float]
    residual_s: float
    records: int
    fitted: bool
    note: str
    bend_s: Estimate = field(default_factory=Estimate)
    figures: Figures = field(default_factory=Figures)

    @property
    def relative_errors(self) -> Floats:
        """Standard error over coefficient, per coefficient; 0 where that says nothing."""
        m = self.model
        values = np.array(_coefficients(m))
        errors = np.array(self.standard_errors)
        relative: Floats = np.divide(errors, values, out=np.zeros(KINDS + 1), where=values > 0)
        return relative


def calibrate(records: Sequence[StepRecord], prior: StepModel = CPU_PRIOR) -> Calibration:
    """Fit the step model to `records`; the prior when they are too few or all alike.

    Rows are weighted by the inverse of the fitted time (the scatter of a step grows with its
    length). Steps further than six robust deviations from the fit are left out of the next, until
    none change: they were disturbed from outside. A kind of token that never varies keeps the
    prior's coefficient.
    """
    table = np.array(
        [
            [r.decode_seqs, r.prefill_tokens, r.context_tokens, r.prefill_pairs, r.step_s]
            for r in records
        ],
        dtype=np.float64,
    ).reshape(-1, KINDS + 1)
    table = table[np.isfinite(table).all(1) & (table[:, -1] > 0) & (table[:, :KINDS] >= 0).all(1)]
    if len(table) < MIN_RECORDS:
        return _prior(prior, len(table), f"only {len(table)} usable steps, {MIN_RECORDS} needed")
    if (np.ptp(table[:, :KINDS], axis=0) == 0).all():
        return _prior(prior, len(table), "all steps were alike")
    kept = np.ones(len(table), dtype=np.bool_)
    coefficients, weight = np.array(_coefficients(prior)), 1 / table[:, -1]
    for _ in range(_REFITS):
        coefficients = _fit(table[kept], prior, weight[kept])
        times = _times(table, coefficients)
        # Weighting by the measured time would favour the steps that came out short.
        weight, before = 1 / times, kept
        kept = _undisturbed(table[:, -1] / times - 1)
        if (kept == before).all():
            break
    coefficients = _fit(table[kept], prior, weight[kept])
    return _describe(table[kept], coefficients, len(table))


def calibrate_target(past: Past, prior: StepModel = CPU_PRIOR) -> Calibration:
    """The step model with the other figures of a target, from all that it told."""
    return replace(calibrate(past.steps, prior), figures=figures(past))


def _undisturbed(left: Floats) -> Bools:
    deviation = max(_robust_deviation(left), 1e-3)
    near: Bools = np.abs(left - np.median(left)) <= _OUTLIER_DEVIATIONS * deviation
    return near


def _coefficients(model: StepModel) -> tuple[float, float, float, float, float]:
    return (model.t0_s, model.decode_s, model.prefill_s, model.context_s, model.pair_s)


def _prior(prior: StepModel, n: int, why: str) -> Calibration:
    return Calibration(prior, (0.0, 0.0, 0.0, 0.0, 0.0), 0.0, n, False, f"prior step model: {why}")


def _design(table: Floats) -> Floats:
    return np.column_stack([np.ones(len(table)), table[:, :KINDS]])


def _times(table: Floats, coefficients: Floats) -> Floats:
    times: Floats = np.maximum(_design(table) @ coefficients, 1e-9)
    return times


def _fit(table: Floats, prior: StepModel, weight: Floats) -> Floats:
    coefficients = np.array(_coefficients(prior))
    free = np.array([True, *(np.ptp(table[:, :KINDS], axis=0) > 0)])
    design = _design(table)
    target = table[:, -1] - design[:, ~free] @ coefficients[~free]
    weighted = design[:, free] * weight[:, None]
    # Columns differ by six orders of magnitude: scaled, the solver's tolerance fits all of them.
    scale = np.maximum(np.sqrt((weighted**2).mean(axis=0)), 1e-12)
    coefficients[free] = nnls(weighted / scale, target * weight)[0] / scale
    return coefficients


def _describe(table: Floats, coefficients: Floats, n: int) -> Calibration:
    times = _times(table, coefficients)
    left = table[:, -1] - times
    relative = left / times
    fitted = (coefficients > 0) & np.array([True, *(np.ptp(table[:, :KINDS], axis=0) > 0)])
    errors = np.zeros(KINDS + 1)
    weighted = _design(table)[:, fitted] / times[:, None]
    spread = relative.var() * len(table) / max(len(table) - int(fitted.sum()), 1)
    errors[fitted] = np.sqrt(np.diag(np.linalg.pinv(weighted.T @ weighted)) * spread)
    t0_s, decode_s, prefill_s, context_s, pair_s = (float(c) for c in coefficients)
    of_t0, of_decode, of_prefill, of_context, of_pair = (float(e) for e in errors)
    noise = float(np.clip(_robust_deviation(relative), 0.005, 0.4))
    bend = _bend(table, weighted, relative, times)
    return Calibration(
        StepModel(max(t0_s, 1e-5), decode_s, prefill_s, context_s, noise, pair_s),
        (of_t0, of_decode, of_prefill, of_context, of_pair),
        float(left.std()),
        n,
        True,
        f"fitted to {len(table)} steps, {n - len(table)} disturbed ones left out"
        + (_bent(bend) if bend.known else ""),
        bend,
    )


def _bend(table: Floats, weighted: Floats, relative: Floats, times: Floats) -> Estimate:
    """The coefficient of the squared batch beside the linear terms, where it is significant."""
    seqs = table[:, 0]
    square = seqs**2 / times
    own = square - weighted @ (np.linalg.pinv(weighted) @ square)
    mass = float(own @ own)
    if mass <= 1e-9 * float(square @ square):
        return Estimate()
    bend = float(own @ relative) / mass
    left = relative - bend * own
    error = float(left.std(ddof=1)) / mass**0.5
    most = np.argmax(seqs)
    matters = abs(bend) * seqs[most] ** 2 >= _LEAST_BEND * times[most]
    if abs(bend) < _BEND_DEVIATIONS * error or not matters:
        return Estimate()
    return Estimate(bend, error, len(table))


def _bent(bend: Estimate) -> str:
    way = "faster" if bend.value > 0 else "slower"
    return f"; steps grow {way} than in proportion to the batch"


def _robust_deviation(values: Floats) -> float:
    """A normal standard deviation from the median absolute deviation."""
    return 1.4826 * float(np.median(np.abs(values - np.median(values))))
