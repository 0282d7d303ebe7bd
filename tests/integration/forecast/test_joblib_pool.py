"""Fits over joblib, on loky's processes and, where it is installed, on Ray."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import yaml

from autotuner.bootstrap import build_service, open_configured_history
from autotuner.config import Config, TargetConfig
from autotuner.forecast.backtest import Tried
from autotuner.forecast.bands import Kind
from autotuner.forecast.child import ChildError
from autotuner.forecast.fit_job import FitRequest, fit
from autotuner.forecast.joblib_pool import JoblibPool
from autotuner.forecast.series import DAY_S, clean
from autotuner.watch import FORECAST_KINDS

# Ray and loky warn of what is their own affair (open sockets, forks beside threads).
pytestmark = [
    pytest.mark.process,
    pytest.mark.filterwarnings("default"),
    pytest.mark.skipif(
        find_spec("joblib") is None, reason="joblib is not installed: pip install autotuner[ray]"
    ),
]

NOW = 20_000 * DAY_S
NO_RAY = pytest.mark.skipif(
    find_spec("ray") is None, reason="ray is not installed: pip install autotuner[ray]"
)


@pytest.fixture(scope="module", params=["loky", pytest.param("ray", marks=NO_RAY)])
def backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def pool(backend: str) -> Iterator[JoblibPool]:
    opened = JoblibPool(2, backend)
    yield opened
    opened.close()


def request(seed: int, time_limit_s: float = 60.0) -> FitRequest:
    times = NOW + 300.0 * np.arange(3 * 288, dtype=np.float64)
    values = np.random.default_rng(seed).exponential(size=len(times))
    return FitRequest(clean(times, values), times[-3:] + 900.0, Kind.RATE, time_limit_s, 0.9)


def fitting() -> set[str]:
    """Processes of fits, wherever their parents are on this machine."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if b"autotuner.forecast.fit_job" in path.read_bytes():
                found.add(path.parent.name)
        except OSError:
            continue
    return found


def test_many_are_fitted_as_in_this_process_in_their_order(pool: JoblibPool) -> None:
    requests = [request(seed) for seed in range(3)]
    assert list(pool.fit_many(requests)) == [fit(one) for one in requests]
    assert list(pool.fit_many([])) == []


def test_the_time_limit_of_each_fit_holds_and_the_others_are_not_touched(
    pool: JoblibPool,
) -> None:
    before = fitting()
    short = FitRequest(clean([NOW], [1.0]), np.array([NOW]), Kind.RATE, 60.0, 0.9)
    late, failed, good = pool.fit_many([request(1, time_limit_s=0.05), short, request(2)])
    assert isinstance(late, TimeoutError)
    assert str(late) == "timed out after 0.05 s"
    assert isinstance(failed, ChildError)
    assert "ValueError: series: 1 points" in str(failed)
    assert good == fit(request(2))
    assert fitting() - before == set()  # what was late was killed, not left behind
    with pytest.raises(TimeoutError):
        pool.fit(request(1, time_limit_s=0.05))


def test_threads_take_turns(pool: JoblibPool) -> None:
    with ThreadPoolExecutor(3) as threads:
        found = list(threads.map(pool.fit, [request(seed) for seed in range(3)]))
    assert found == [fit(request(seed)) for seed in range(3)]


def test_a_worker_that_dies_is_told_for_each_and_the_next_call_works(tmp_path: Path) -> None:
    mark = tmp_path / "died once"

    def dies(asked: FitRequest) -> Tried:
        if not mark.exists():
            mark.touch()
            os._exit(3)
        return Tried("prophet", (), asked.coverage)

    pool = JoblibPool(2, fit=dies)
    try:
        lost = pool.fit_many([request(1), request(2)])
        assert all(isinstance(one, ChildError) for one in lost)
        assert "joblib over loky: TerminatedWorkerError" in str(lost[0])
        again = pool.fit_many([request(1), request(2)])
        assert again == [Tried("prophet", (), 0.9)] * 2
    finally:
        pool.close()


@pytest.mark.parametrize(("workers", "backend_name"), [(0, "loky"), (2, "dask")])
def test_a_pool_that_can_do_nothing_is_refused(workers: int, backend_name: str) -> None:
    with pytest.raises(ValueError, match=r"give (at least 1|one of loky, ray)"):
        JoblibPool(workers, backend_name)


@pytest.mark.parametrize(
    ("missing", "told"),
    [
        ("joblib", "forecast.backend='joblib': joblib is missing: pip install 'autotuner[ray]'"),
        ("ray", "forecast.joblib_backend='ray': ray is missing: pip install 'autotuner[ray]'"),
    ],
)
def test_what_is_not_installed_is_told_at_the_start(
    missing: str, told: str, tmp_path: Path
) -> None:
    config = {
        "history": f"sqlite:///{tmp_path / 'h.sqlite3'}",
        "targets": [{"name": "t", "url": "http://127.0.0.1:9"}],
        "listen": {"port": 0},
        "forecast_processes": 2,
        "forecast": {"backend": "joblib", "joblib_backend": "ray"},
    }
    path = tmp_path / "a.yaml"
    path.write_text(yaml.safe_dump(config))
    script = (
        "import sys\n"
        f"sys.modules[{missing!r}] = None\n"  # as if it were not installed
        f"sys.argv = ['autotuner', 'run', '--config', {str(path)!r}]\n"
        "from autotuner.cli import main\n"
        "main()\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 2
    assert f"error: {told}" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_daemon_refits_all_series_over_it(backend: str, tmp_path: Path) -> None:
    target = TargetConfig(name="t", url="http://127.0.0.1:9", policy="default")
    config = Config.model_validate(
        {
            "history": f"sqlite:///{tmp_path / 'h.sqlite3'}",
            "targets": [target],
            "forecast_processes": 2,
            "forecast": {"backend": "joblib", "joblib_backend": backend},
        }
    )
    history = open_configured_history(config)
    service = build_service(config, history)
    times = NOW - 300.0 * np.arange(1, 200)
    for seed, series in enumerate(FORECAST_KINDS):
        values = 5.0 + np.random.default_rng(seed).normal(size=len(times))
        rows = [(series, float(at), float(y)) for at, y in zip(times, values, strict=True)]
        history.append_samples("t", rows)
    refit = next(job for job in service.jobs if job.name == "refit:t")
    with ThreadPoolExecutor(1) as scheduler:  # never the main thread in a daemon
        scheduler.submit(refit.run, NOW).result()
    for series in FORECAST_KINDS:
        forecast = history.latest_forecast("t", series)
        assert forecast is not None
        assert "prophet " in forecast.note
        assert "failed" not in forecast.note
    stopped = threading.Event()
    stopped.set()
    service.run(stopped)
    history.close()
