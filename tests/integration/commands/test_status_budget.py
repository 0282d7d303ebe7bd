"""`autotuner status` tells what is left of each target's error budget."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner, Result

from autotuner.cli import app
from autotuner.history.store import History
from tests.integration.commands.support import POLICIES, daemon_lives


def status(folder: Path, *words: str, availability: object = "as it is") -> Result:
    policy = yaml.safe_load((POLICIES / "default.yaml").read_text())
    if availability != "as it is":
        policy["availability"] = availability
    (folder / "p.yaml").write_text(yaml.safe_dump(policy))
    target = {"name": "chat", "url": "http://127.0.0.1:9", "policy": str(folder / "p.yaml")}
    told = {"history": f"sqlite:///{folder / 'h.sqlite3'}", "targets": [target]}
    (folder / "a.yaml").write_text(yaml.safe_dump(told))
    runner = CliRunner(env={"COLUMNS": "250"})
    return runner.invoke(app, ["status", *words, "-c", str(folder / "a.yaml")])


@pytest.fixture
def counted(history: History) -> History:
    daemon_lives(history)
    hour = time.time() // 3600 * 3600 - 7200
    counts = {"requests": 100_000.0, "failed": 20.0, "lost": 0.0}
    history.append_samples(
        "chat", [(f"availability_{what}", hour, count) for what, count in counts.items()]
    )
    return history


def test_it_is_told_in_words_and_as_figures(counted: History, tmp_path: Path) -> None:
    told = status(tmp_path)
    assert told.exit_code == 0, told.output
    assert (
        "60.0% is left (20 of 100000 requests failed in 30 days, 50 may at 99.95%)" in told.stdout
    )
    [figures] = json.loads(status(tmp_path, "--json").stdout)
    assert figures["availability"]["remaining"] == pytest.approx(0.6)
    assert figures["availability"]["requests"] == 100_000
    strict = {"objective": 0.9999, "window_days": 7}
    assert "overdrawn by 100.0%" in status(tmp_path, availability=strict).stdout
    assert counted.series("chat") != []


def test_little_traffic_is_said_to_be_too_little(history: History, tmp_path: Path) -> None:
    daemon_lives(history)
    assert "not judged below 20000 requests (0 of 0 requests failed" in status(tmp_path).stdout


def test_where_none_is_kept_nothing_is_said(counted: History, tmp_path: Path) -> None:
    assert "error budget" not in status(tmp_path, availability=None).stdout
    [figures] = json.loads(status(tmp_path, "--json", availability=None).stdout)
    assert figures["availability"] is None
    assert counted.series("chat") != []
