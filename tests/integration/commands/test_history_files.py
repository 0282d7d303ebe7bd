"""The commands that export, copy, bring back and compact a history, as a person types them."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from autotuner.cli import app
from autotuner.history.store import open_history

START = 1_764_000_000.0
runner = CliRunner()


@pytest.fixture
def config(tmp_path: Path) -> Path:
    url = f"sqlite:///{tmp_path / 'history.sqlite3'}"
    history = open_history(url)
    history.record_target("t", kind="worker", url="http://t", at=START)
    history.append_samples("t", [("rate", START + 300.0 * i, float(i)) for i in range(24)])
    history.close()
    path = tmp_path / "autotuner.yaml"
    target = {"name": "t", "url": "http://t"}
    path.write_text(yaml.safe_dump({"history": url, "targets": [target], "keep_days": 10_000}))
    return path


def run(*words: object) -> str:
    done = runner.invoke(app, ["history", *map(str, words)])
    assert done.exit_code == 0, done.output
    return done.output


def test_compact_tells_before_it_does(config: Path) -> None:
    told = run("compact", "--config", config, "--dry-run")
    assert "samples: 24 → 2 rows" in told
    assert "would be" in told
    assert "samples: 24 → 2 rows" in run("compact", "--config", config)
    assert "samples" not in run("compact", "--config", config)


def test_export_takes_times_as_people_write_them(config: Path, tmp_path: Path) -> None:
    out = tmp_path / "s.csv"
    since, until = "2025-11-24T16:30Z", "2025-11-24T17:00"
    words = ("--since", since, "--until", until, "--out", out, "--config", config)
    assert "6 rows of samples" in run("export", "samples", *words)
    assert out.read_text(encoding="utf-8").count("\n") == 7
    bad = runner.invoke(
        app, ["history", "export", "samples", "--since", "noon", *map(str, words[4:])]
    )
    assert bad.exit_code != 0
    assert "noon" in f"{bad.output}{bad.exception}"


def test_a_copy_is_brought_back(config: Path, tmp_path: Path) -> None:
    copy, new = tmp_path / "copy.sqlite3", tmp_path / "new.sqlite3"
    assert "bytes in" in run("backup", copy, "--config", config)
    assert copy.stat().st_mode & 0o077 == 0
    assert "restored" in run("restore", copy, "--to", f"sqlite:///{new}")
    back = open_history(f"sqlite:///{new}")
    assert len(back.samples("t", "rate", since=0)) == 24
    back.close()
