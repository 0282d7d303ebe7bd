"""A daemon that keeps its fitting processes: configured, used by a refit, closed at the end."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest

from autotuner.bootstrap import build_service, open_configured_history
from autotuner.config import Config, TargetConfig
from autotuner.forecast.series import DAY_S
from autotuner.watch import LOAD

pytestmark = pytest.mark.process

NOW = 20_000 * DAY_S


def children() -> set[str]:
    """Processes of fits that this process started."""
    tasks = Path("/proc/self/task").glob("*/children")
    pids = {pid for task in tasks for pid in task.read_text().split()}
    return {pid for pid in pids if b"autotuner.forecast.fit_job" in _command(pid)}


def _command(pid: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


@pytest.mark.parametrize("kept", [0, 1])
def test_a_refit_uses_the_processes_that_stay(kept: int, tmp_path: Path) -> None:
    target = TargetConfig(name="t", url="http://127.0.0.1:9", policy="default")
    config = Config(
        history=f"sqlite:///{tmp_path / 'h.sqlite3'}", targets=[target], forecast_processes=kept
    )
    history = open_configured_history(config)
    service = build_service(config, history)
    times = NOW - 300.0 * np.arange(1, 200)
    values = 5.0 + np.random.default_rng(0).normal(size=len(times))
    rows = [(LOAD, float(at), float(y)) for at, y in zip(times, values, strict=True)]
    history.append_samples("t", rows)
    refit = next(job for job in service.jobs if job.name == "refit:t")
    before = children()
    refit.run(NOW)
    forecast = history.latest_forecast("t", LOAD)
    assert forecast is not None
    assert "prophet " in forecast.note
    assert "failed" not in forecast.note
    assert len(children() - before) == kept
    stopped = threading.Event()
    stopped.set()
    service.run(stopped)
    assert children() - before == set()
    history.close()
