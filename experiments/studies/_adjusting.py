"""Covariate adjustment of many simulated tests, by the code that live tests use."""

from __future__ import annotations

import numpy as np

from autotuner.abtest.covariates import Regression
from autotuner.abtest.eprocess import Floats


def adjusted(differences: Floats, covariates: Floats) -> Floats:
    """Each test's differences less what its covariates explain, with coefficients of the past.

    `differences`: (tests, pairs). `covariates`: (tests, pairs, names), log ratios of treatment to
    control.
    """
    left = np.empty_like(differences)
    for test, (series, rows) in enumerate(zip(differences, covariates, strict=True)):
        regression = Regression.start(rows.shape[1])
        for pair, (difference, row) in enumerate(zip(series.tolist(), rows.tolist(), strict=True)):
            left[test, pair] = difference - regression.predict(tuple(row))
            regression = regression.update(tuple(row), difference)
    return left
