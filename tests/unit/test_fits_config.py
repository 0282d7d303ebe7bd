"""Where forecasts are fitted, as the configuration says it."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from autotuner.bootstrap import build_fit_pool
from autotuner.config import Config, TargetConfig
from autotuner.forecast.pool import FitPool


def config(**told: Any) -> Config:
    return Config(targets=[TargetConfig(name="t", url="http://127.0.0.1:9")], **told)


def test_without_a_word_each_fit_has_a_process_of_its_own() -> None:
    assert build_fit_pool(config()) is None


def test_processes_that_stay_are_the_default_backend() -> None:
    pool = build_fit_pool(config(forecast_processes=2))
    assert isinstance(pool, FitPool)
    pool.close()


@pytest.mark.parametrize(
    ("told", "wrong"),
    [
        ({"forecast": {"backend": "joblib"}}, "forecast_processes=0: forecast.backend='joblib'"),
        (
            {"forecast": {"joblib_backend": "ray"}, "forecast_processes": 2},
            "forecast.joblib_backend='ray': no effect",
        ),
        ({"forecast": {"backend": "threads"}}, "'processes' or 'joblib'"),
        ({"forecast": {"backend": "joblib", "joblib_backend": "dask"}}, "'loky' or 'ray'"),
    ],
)
def test_what_does_not_fit_together_is_told(told: dict[str, Any], wrong: str) -> None:
    with pytest.raises(ValidationError) as problem:
        config(**told)
    assert wrong in str(problem.value)
