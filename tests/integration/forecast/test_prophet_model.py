"""Prophet itself, with the troubles that people have had with it."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from autotuner.domain.forecasts import ForecastPoint
from autotuner.forecast.bands import Kind
from autotuner.forecast.prophet_model import fit_and_predict
from autotuner.forecast.series import DAY_S, FloatArray, Series, clean, grid_after

pytestmark = pytest.mark.process

STEP_S = 300.0
START = 20_000 * DAY_S


def stamps(days: float) -> FloatArray:
    return START + np.arange(int(days * 288), dtype=np.float64) * STEP_S


def wave(times: FloatArray) -> FloatArray:
    return np.asarray(10 + 5 * np.sin(2 * np.pi * times / DAY_S), dtype=np.float64)


def noisy(days: float = 3.0, noise: float = 0.5) -> Series:
    times = stamps(days)
    return clean(times, wave(times) + np.random.default_rng(0).normal(0, noise, len(times)))


def predict(
    series: Series, kind: Kind = Kind.RATE, *, seed: int = 0, hours: float = 6.0
) -> tuple[ForecastPoint, ...]:
    horizon = grid_after(float(series.times[-1]) + STEP_S, hours * 3600.0, STEP_S)
    return fit_and_predict(series, horizon, kind, time_limit_s=30.0, seed=seed)


def test_a_daily_pattern_is_forecast() -> None:
    points = predict(noisy(), hours=24.0)
    truth = wave(np.array([p.at for p in points]))
    assert np.mean(np.abs(np.array([p.value for p in points]) - truth)) < 0.3
    assert np.mean([p.low <= y <= p.high for p, y in zip(points, truth, strict=True)]) == 1.0


@pytest.mark.parametrize("unit", ["ms", "us", "ns"])
def test_the_unit_of_the_stamps_does_not_matter(unit: str) -> None:
    series = noisy()
    same = clean((series.times * 1e9).astype("datetime64[ns]").astype(f"M8[{unit}]"), series.values)
    assert predict(same) == predict(series)


def test_local_times_across_a_clock_change_do_not_matter() -> None:
    first = datetime(2025, 10, 24, tzinfo=UTC)  # Berlin's clock goes back on the 26th
    utc = [first + timedelta(minutes=5 * i) for i in range(864)]
    values = wave(np.array([stamp.timestamp() for stamp in utc]))
    local = [stamp.astimezone(ZoneInfo("Europe/Berlin")) for stamp in utc]
    assert predict(clean(local, values)) == predict(clean(utc, values))


@pytest.mark.parametrize("level", [0.0, 5.0])
def test_a_constant_series_has_a_band(level: float) -> None:
    times = stamps(1.0)
    for point in predict(clean(times, np.full(len(times), level))):
        assert point.value == pytest.approx(level, abs=1e-6)
        assert point.high - point.value >= max(1e-9, 0.0099 * level)


def test_missing_and_infinite_rows_are_no_trouble() -> None:
    times, values = stamps(3.0), wave(stamps(3.0))
    values[::7], values[::31] = np.nan, np.inf
    points = predict(clean(times, values))
    truth = wave(np.array([p.at for p in points]))
    assert np.max(np.abs(np.array([p.value for p in points]) - truth)) < 0.2


def test_too_few_points_are_refused() -> None:
    with pytest.raises(ValueError, match="59 points"):
        predict(clean(stamps(1.0)[:59], wave(stamps(1.0)[:59])))


def test_a_falling_positive_series_stays_possible() -> None:
    times = stamps(1.0)
    falling = np.exp(-np.arange(len(times)) / 60.0)
    noise = np.random.default_rng(0).uniform(0, 0.02, len(times))
    for kind in Kind:
        for point in predict(clean(times, falling + noise), kind, hours=24.0):
            assert 0.0 <= point.low <= point.value <= point.high <= kind.highest


def test_a_heavy_tail_does_not_drag_the_level_up() -> None:
    times = stamps(3.0)
    latencies = np.random.default_rng(0).lognormal(-3.0, 1.5, len(times))
    median, values = np.median(latencies), [p.value for p in predict(clean(times, latencies))]
    assert 0.5 * median < np.median(values) < 2.0 * median


def test_the_same_seed_gives_the_same_band_and_leaves_numpy_alone() -> None:
    series = noisy(1.0)
    np.random.seed(7)  # noqa: NPY002
    expected = np.random.uniform()  # noqa: NPY002
    np.random.seed(7)  # noqa: NPY002
    first, second, other = predict(series), predict(series), predict(series, seed=1)
    assert np.random.uniform() == expected  # noqa: NPY002
    assert first == second
    assert [p.value for p in first] == [p.value for p in other]
    assert [p.high for p in first] != [p.high for p in other]


def test_a_fit_over_its_time_limit_raises() -> None:
    horizon = np.array([START])
    with pytest.raises(TimeoutError):
        fit_and_predict(noisy(14.0), horizon, Kind.RATE, time_limit_s=0.001)


def test_twenty_fits_leave_no_files() -> None:
    series = noisy(1.0)
    predict(series)  # the library makes one folder per process
    folder = Path(tempfile.gettempdir())
    before = _files_of_fits(folder)
    for _ in range(20):
        predict(series, hours=0.1)
    assert _files_of_fits(folder) - before == set()


def _files_of_fits(folder: Path) -> set[Path]:
    import cmdstanpy

    own = Path(cmdstanpy._TMPDIR)
    return {*own.rglob("*"), *folder.glob("autotuner-prophet-*")}


def test_a_fit_says_nothing_on_stderr_or_stdout() -> None:
    script = (
        "import numpy as np\n"
        "from autotuner.forecast.bands import Kind\n"
        "from autotuner.forecast.prophet_model import fit_and_predict\n"
        "from autotuner.forecast.series import clean\n"
        "t = np.arange(900) * 300.0\n"
        "points = fit_and_predict(clean(t, t % 7), t[-1:], Kind.RATE, time_limit_s=30)\n"
        "assert len(points) == 1\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=False)
    assert (done.returncode, done.stderr, done.stdout) == (0, b"", b"")


def test_prophet_is_not_imported_before_it_is_needed() -> None:
    script = (
        "import sys, autotuner.forecast.service, autotuner.forecast.anomaly\n"
        "sys.exit(any(name in sys.modules for name in ('prophet', 'pandas', 'cmdstanpy')))"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


@pytest.mark.parametrize(("days", "learnt"), [(14.0, True), (13.0, False)])
def test_weekends_are_learnt_from_two_weeks_on(days: float, learnt: bool) -> None:
    times = stamps(days)
    noise = np.random.default_rng(0).normal(0, 0.2, len(times))
    points = predict(clean(times, 10.0 + 5.0 * weekend(times) + noise), hours=7 * 24.0)
    free = weekend(np.array([p.at for p in points]))
    values = np.array([p.value for p in points])
    assert (values[free].mean() - values[~free].mean() > 2.5) == learnt


def weekend(times: FloatArray) -> np.ndarray:
    return (times // DAY_S + 3) % 7 >= 5  # the first of January 1970 was a Thursday
