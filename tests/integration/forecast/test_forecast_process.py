"""The process that fits: its limit, its leftovers, and the whole way on real data."""

from __future__ import annotations

import csv
import os
import signal
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from autotuner.forecast.anomaly import DetectorState, score_point
from autotuner.forecast.bands import Kind
from autotuner.forecast.child import ChildError, run_limited
from autotuner.forecast.fit_job import FitRequest, fit, fit_in_child
from autotuner.forecast.series import DAY_S, FloatArray, clean
from autotuner.forecast.service import Forecaster, ForecastSettings

pytestmark = pytest.mark.process

NOW = 20_000 * DAY_S
DATA = Path(__file__).parents[4] / "shared" / "data" / "nab" / "data"


def past(days: float) -> tuple[FloatArray, FloatArray]:
    times = NOW - 300.0 * np.arange(int(days * 288), dtype=np.float64)[::-1]
    return times, np.asarray(10 + 5 * np.sin(2 * np.pi * times / DAY_S), dtype=np.float64)


def leftovers() -> set[str]:
    return {p.name for p in Path(tempfile.gettempdir()).glob("autotuner-child-*")}


def python(script: str, limit_s: float, stdin: bytes = b"") -> bytes:
    return run_limited([sys.executable, "-c", script], stdin, limit_s)


def test_a_command_gives_its_output() -> None:
    assert python("import sys; print(sys.stdin.read()[::-1], end='')", 30.0, b"abc") == b"cba"


def test_a_failed_command_tells_its_last_line() -> None:
    with pytest.raises(ChildError, match=r"^ValueError: boom$"):
        python("raise ValueError('boom')", 30.0)
    with pytest.raises(ChildError, match="exit code 3"):
        python("raise SystemExit(3)", 30.0)


def test_a_command_that_does_not_exist_is_an_os_error() -> None:
    with pytest.raises(OSError, match="no-such-command"):
        run_limited(["/no-such-command"], b"", 1.0)


def test_at_the_limit_the_command_and_its_children_are_killed(tmp_path: Path) -> None:
    note = tmp_path / "pids"
    script = (
        "import os, pathlib, subprocess, sys, tempfile, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        "open(tempfile.mkstemp()[0], 'w').write('leftover')\n"
        f"note = pathlib.Path({str(note)!r})\n"
        "note.with_suffix('.new').write_text(f'{os.getpid()} {child.pid}')\n"
        "note.with_suffix('.new').rename(note)\n"
        "time.sleep(600)\n"
    )
    before = leftovers()
    with pytest.raises(TimeoutError, match="timed out after 3 s"):
        python(script, 3.0)
    assert leftovers() - before == set()
    for pid in map(int, note.read_text().split()):
        assert _ends(pid)


def _ends(pid: int) -> bool:
    """Whether a killed process is gone soon (its new parent may take a moment to notice)."""
    for _ in range(200):
        stat = Path(f"/proc/{pid}/stat")
        if not stat.exists() or stat.read_text().rsplit(")", 1)[1].split()[0] == "Z":
            return True
        time.sleep(0.05)
    os.kill(pid, signal.SIGKILL)
    return False


def test_the_process_gives_what_a_fit_in_this_process_gives() -> None:
    times, values = past(3.0)
    request = FitRequest(clean(times, values), times[-3:] + 900.0, Kind.RATE, 60.0, 0.9)
    assert fit_in_child(request) == fit(request)


def test_a_failure_in_the_process_comes_back_as_text() -> None:
    short = clean([NOW], [1.0])
    with pytest.raises(ChildError, match="ValueError: series: 1 points"):
        fit_in_child(FitRequest(short, np.array([NOW]), Kind.RATE, 60.0, 0.9))


def test_over_the_limit_the_seasonal_model_answers() -> None:
    before = leftovers()
    forecaster = Forecaster(ForecastSettings(time_limit_s=0.01))
    forecast = forecaster.forecast("rps", *past(3.0), 3600.0, NOW, Kind.RATE)
    assert forecast.model == "seasonal"
    assert forecast.note.startswith("prophet timed out after 0.01 s; ")
    assert leftovers() - before == set()


def test_prophet_forecasts_and_is_the_same_each_time() -> None:
    forecaster = Forecaster(ForecastSettings(time_limit_s=60.0))
    assert forecaster.probe() is None
    first = forecaster.forecast("rps", *past(3.0), 3600.0, NOW, Kind.RATE)
    assert (first.model, len(first.points)) == ("prophet", 13)
    assert forecaster.forecast("rps", *past(3.0), 3600.0, NOW, Kind.RATE) == first


def nab(name: str) -> tuple[FloatArray, FloatArray]:
    path = DATA / name
    if not path.exists():
        pytest.skip(f"the real series {name} is not here")
    with path.open() as lines:
        rows = list(csv.DictReader(lines))
    stamps = [datetime.fromisoformat(row["timestamp"]).replace(tzinfo=UTC) for row in rows]
    return clean(stamps, [0.0] * len(rows), 1.0).times, np.array([float(r["value"]) for r in rows])


@pytest.mark.parametrize("use_prophet", [True, False])
def test_on_real_taxi_demand_the_pattern_beats_the_mean(use_prophet: bool) -> None:
    times, values = nab("realKnownCause/nyc_taxi.csv")
    chosen = ForecastSettings(step_s=1800.0, time_limit_s=60.0, use_prophet=use_prophet)
    gains = []
    for day in (18, 27, 36, 45):  # a Saturday, a Monday, a Wednesday, a Friday
        now = float(times[0]) + day * DAY_S
        seen, ahead = times < now, (times >= now) & (times < now + DAY_S)
        forecast = Forecaster(chosen).forecast(
            "rides", times[seen], values[seen], DAY_S - 1800.0, now, Kind.RATE
        )
        assert forecast.model in {"prophet", "seasonal"}
        assert ("prophet is switched off" in forecast.note) != use_prophet
        recent = values[seen & (times > now - 14 * DAY_S)]
        errors = np.abs([p.value for p in forecast.points] - values[ahead])
        gains.append(errors.mean() / np.abs(recent.mean() - values[ahead]).mean())
    assert np.mean(gains) < 0.75


def test_on_real_cpu_load_the_labelled_failure_is_told() -> None:
    times, values = nab("realAWSCloudwatch/rds_cpu_utilization_cc0c53.csv")
    state, told = DetectorState(), []
    start = float(times[0]) + 3 * DAY_S
    for day in range(10):
        now = start + day * DAY_S
        seen, ahead = times < now, (times >= now) & (times < now + DAY_S)
        forecaster = Forecaster(ForecastSettings(use_prophet=False))
        forecast = forecaster.forecast("cpu", times[seen], values[seen], DAY_S, now, Kind.LATENCY)
        for at, value in zip(times[ahead], values[ahead], strict=True):
            state, score = score_point(state, "cpu", float(at), float(value), forecast)
            if score.anomalous and not score.suppressed:
                told.append(float(at))
    window = [datetime(2014, 2, 24, 22, 50, tzinfo=UTC), datetime(2014, 2, 25, 15, 35, tzinfo=UTC)]
    assert any(window[0].timestamp() <= at <= window[1].timestamp() for at in told)
    assert len(told) <= 10
