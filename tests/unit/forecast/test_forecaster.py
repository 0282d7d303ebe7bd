"""The choice between models, with a fit that is handed in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

import numpy as np
import pytest

from autotuner.domain.forecasts import ForecastPoint
from autotuner.forecast.backtest import Tried
from autotuner.forecast.bands import Kind
from autotuner.forecast.child import ChildError
from autotuner.forecast.fit_job import FitRequest
from autotuner.forecast.fits import Fit, Fitted
from autotuner.forecast.series import DAY_S
from autotuner.forecast.service import Forecaster, ForecastSettings, Past

NOW = 20_000 * DAY_S


def past(points: int) -> np.ndarray:
    return NOW - 300.0 * np.arange(points)[::-1]


def wavy(points: int) -> np.ndarray:
    return 5.0 + np.arange(points) % 3


def fit_with(error: float) -> Fit:
    def fit(request: FitRequest) -> Tried:
        points = tuple(ForecastPoint(float(at), 1.0, 0.5, 1.5) for at in request.horizon)
        return Tried("prophet", points, error)

    return fit


good_fit = fit_with(0.0)


def failing(error: Exception) -> Fit:
    def fit(request: FitRequest) -> Tried:
        raise error

    return fit


def never(request: FitRequest) -> Tried:
    raise AssertionError("no fit was to be asked for")


def test_the_model_with_the_least_error_is_taken() -> None:
    chosen = ForecastSettings(coverage=0.9)
    beaten = Forecaster(chosen, fit_with(1e9)).forecast(
        "rps", past(600), wavy(600), 3600.0, NOW, Kind.RATE
    )
    without = Forecaster(replace(chosen, use_prophet=False)).forecast(
        "rps", past(600), wavy(600), 3600.0, NOW, Kind.RATE
    )
    assert beaten.model in {"seasonal", "robust"}
    assert beaten.note.endswith("prophet 1e+09")
    assert beaten.points == without.points


def test_of_equals_the_simplest_is_taken() -> None:
    forecast = Forecaster(fit=fit_with(0.0)).forecast(
        "rps", past(600), np.r_[np.full(400, 2.0), 3.0, np.full(199, 2.0)], 60.0, NOW, Kind.RATE
    )
    assert forecast.model == "robust"


def test_a_pattern_of_the_day_is_found() -> None:
    times = past(4 * 288)
    values = 10 + 5 * np.sin(2 * np.pi * times / DAY_S) + np.arange(len(times)) % 2
    forecast = Forecaster(ForecastSettings(use_prophet=False)).forecast(
        "rps", times, values, 6 * 3600.0, NOW, Kind.RATE
    )
    assert forecast.model == "seasonal"
    assert "robust" in forecast.note


def test_a_good_fit_is_taken() -> None:
    forecast = Forecaster(fit=good_fit).forecast(
        "rps", past(600), wavy(600), 3600.0, NOW, Kind.RATE
    )
    assert (forecast.model, forecast.series) == ("prophet", "rps")
    assert forecast.note.startswith("error on the held-out end: prophet 0, ")
    assert [p.at for p in forecast.points] == [NOW + 300.0 * i for i in range(13)]


@pytest.mark.parametrize(
    ("error", "note"),
    [
        (TimeoutError(), "prophet timed out after 30 s"),
        (ChildError("ModuleNotFoundError: no prophet"), "prophet failed: ModuleNotFoundError"),
        (OSError("no more processes"), "prophet failed: no more processes"),
        (ValueError("not JSON"), "prophet failed: not JSON"),
    ],
)
@pytest.mark.parametrize(("points", "models"), [(600, {"seasonal", "robust"}), (100, {"robust"})])
def test_any_failure_falls_back(error: Exception, note: str, points: int, models: set[str]) -> None:
    forecast = Forecaster(fit=failing(error)).forecast(
        "rps", past(points), wavy(points), 3600.0, NOW, Kind.RATE
    )
    assert forecast.model in models
    assert forecast.note.startswith(note)
    assert len(forecast.points) == 13


def no_points(request: FitRequest) -> Tried:
    return Tried("prophet", (), 0.0)


def not_a_number(request: FitRequest) -> Tried:
    points = tuple(ForecastPoint(float(at), float("nan"), 0.0, 1.0) for at in request.horizon)
    return Tried("prophet", points, 0.0)


@pytest.mark.parametrize("answer", [no_points, not_a_number, fit_with(float("nan"))])
def test_a_useless_fit_falls_back(answer: Fit) -> None:
    forecast = Forecaster(fit=answer).forecast("x", past(99), wavy(99), 60.0, NOW, Kind.RATE)
    assert (forecast.model, forecast.note) == ("robust", "prophet gave no finite forecast")


@pytest.mark.parametrize(
    ("values", "note"),
    [
        (wavy(89), "too short for prophet: 89 points, 90 needed"),
        (wavy(59), "too short for prophet: 59 points, 90 needed"),
        (np.full(100, 5.0), "constant series"),
        (np.zeros(100), "constant series"),
        (np.array([3.0]), "too short for prophet: 1 points, 90 needed"),
    ],
)
def test_what_prophet_is_not_asked(values: np.ndarray, note: str) -> None:
    forecast = Forecaster(fit=never).forecast(
        "x", past(len(values)), values, 600.0, NOW, Kind.LATENCY
    )
    assert (forecast.model, forecast.note) == ("robust", note)
    assert all(p.high > p.value for p in forecast.points)


@pytest.mark.parametrize(
    ("times", "values", "note"),
    [
        ([], [], "no finite value"),
        (past(80), np.full(80, np.nan), "no finite value"),
        (past(80) - 15 * DAY_S, np.ones(80), "no finite value in the last 14 days"),
        (past(80), np.ones(79), "two equal lists"),
        ([datetime(2026, 1, 1)], [1.0], "no time zone"),
        ([NOW * 1000], [1.0], "convert milliseconds"),
        ([NOW], [[1.0]], "two equal lists"),
    ],
)
def test_without_usable_data_the_note_says_why(
    times: list[float], values: list[float], note: str
) -> None:
    forecast = Forecaster(fit=never).forecast("x", times, values, 600.0, NOW, Kind.RATE)
    assert (forecast.model, forecast.points) == ("none", ())
    assert note in forecast.note
    assert forecast.at(NOW) is None


def test_data_after_now_is_not_looked_at() -> None:
    times, values = past(40) + 300.0 * 20, np.r_[np.full(20, 1.0), np.full(20, 99.0)]
    forecast = Forecaster(fit=never).forecast("x", times, values, 60.0, NOW, Kind.RATE)
    assert forecast.points[0].value == 1.0


def test_prophet_can_be_switched_off() -> None:
    forecaster = Forecaster(ForecastSettings(use_prophet=False), fit=never)
    forecast = forecaster.forecast("x", past(600), wavy(600), 60.0, NOW, Kind.RATE)
    assert forecast.note.startswith("prophet is switched off; error on the held-out end: ")


def test_the_probe_says_why_prophet_is_missing() -> None:
    assert Forecaster(fit=good_fit).probe() is None
    assert Forecaster(fit=failing(ChildError("no backend"))).probe() == "prophet failed: no backend"


def test_a_request_survives_its_journey() -> None:
    series_of: list[FitRequest] = []

    def keep(request: FitRequest) -> Tried:
        series_of.append(FitRequest.from_json(request.as_json()))
        return good_fit(series_of[-1])

    Forecaster(fit=keep).forecast("x", past(100), wavy(100) / 3, 600.0, NOW, Kind.SHARE)
    (request,) = series_of
    assert request.series.values.tolist() == (wavy(100) / 3).tolist()
    assert request.kind is Kind.SHARE


def test_many_are_asked_for_in_one_call_and_each_gets_its_own_answer() -> None:
    calls: list[int] = []

    def fit_many(requests: Sequence[FitRequest]) -> Sequence[Fitted]:
        calls.append(len(requests))
        assert len({request.series.values[-1] for request in requests}) == len(requests)
        return [TimeoutError(), *(good_fit(request) for request in requests[1:])]

    def one(name: str, values: np.ndarray) -> Past:
        return Past(name, past(len(values)), values, Kind.RATE)

    pasts = [
        one("slow", wavy(300)),
        one("short", wavy(50)),
        one("empty", np.array([])),
        one("good", 2.0 * wavy(300)),
    ]
    found = Forecaster(fit_many=fit_many).forecast_many(pasts, 600.0, NOW)
    assert calls == [2]
    assert [one.series for one in found] == ["slow", "short", "empty", "good"]
    assert found[0].note.startswith("prophet timed out after 30 s")
    assert [one.model for one in found[1:]] == ["robust", "none", "prophet"]
    alone = Forecaster(fit=good_fit).forecast(
        "good", past(300), 2.0 * wavy(300), 600.0, NOW, Kind.RATE
    )
    assert found[3] == alone
