"""The command line as a person meets it: help, mistakes, and a replay read back with SQL."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.process


def autotuner(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "autotuner", *words]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["config", "check", "absent.yaml"], "absent.yaml: can't be read"),
        (["run", "--config", "bad.yaml"], "cycle_s=-1"),
        (["status", "--config", "bad.yaml"], "cycle_s=-1"),
        (["pause", "--config", "good.yaml", "--target", "b"], "--target='b': unknown"),
        (["history", "show", "nothing", "--config", "good.yaml"], "'nothing': unknown"),
        (["experiment", "run", "absent.yaml", "-c", "good.yaml"], "absent.yaml: can't be read"),
        (["experiment", "aa", "-c", "good.yaml", "-t", "b"], "--target='b': unknown"),
        (["experiment", "stop", "-c", "good.yaml"], "no test runs on a: nothing to stop"),
        (["silence", "end", "7", "-c", "good.yaml"], "silence 7: there is none"),
        (["silence", "add", "-c", "good.yaml", "--for", "2", "-m", "x"], "--for='2': a unit"),
        (["study", "run", "nothing"], "study='nothing': unknown"),
        (["study", "run", "--all", "--jobs", "2"], "--jobs 2: studies that run beside each other"),
        (["simulate", "--policy", "nothing"], "policy='nothing': no such file"),
        (["simulate", "--max-num-seqs", "3"], "max_num_seqs=3: not a level"),
        (["agent", "show", "nothing"], "nothing"),
    ],
)
def test_a_mistake_is_a_sentence_and_no_traceback(
    words: list[str], told: str, tmp_path: Path
) -> None:
    target = "targets: [{name: a, url: 'http://127.0.0.1:9'}]\n"
    (tmp_path / "good.yaml").write_text(target)
    (tmp_path / "bad.yaml").write_text(target + "cycle_s: -1\n")
    done = autotuner(*words, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert told in done.stderr
    assert "Traceback" not in done.stderr


def test_help_names_every_command(tmp_path: Path) -> None:
    done = autotuner("--help", cwd=tmp_path)
    names = ("demo", "run", "status", "pause", "resume", "rollback", "experiment", "history")
    for name in (*names, "silence"):
        assert name in done.stdout
    assert done.returncode == 0


HEAVY = {
    "torch", "stable_baselines3", "gymnasium", "prophet", "pandas", "matplotlib", "optuna",
}  # fmt: skip
WITH_LIBRARIES_OF_A_RUN = HEAVY | {
    "sqlalchemy", "alembic", "scipy", "numpy", "pydantic", "fastapi", "uvicorn", "aiohttp",
    "requests", "jinja2",
}  # fmt: skip


@pytest.mark.parametrize(
    ("module", "unwanted"),
    # The daemon trains, forecasts and draws in processes apart, or when somebody looks.
    [("autotuner.cli", WITH_LIBRARIES_OF_A_RUN), ("autotuner.web.serve", HEAVY)],
)
def test_what_a_start_does_not_wait_for(module: str, unwanted: set[str], tmp_path: Path) -> None:
    tell = f"import {module}, sys; print(*{{name.partition('.')[0] for name in sys.modules}})"
    done = subprocess.run(
        [sys.executable, "-c", tell], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert unwanted & set(done.stdout.split()) == set()


def test_the_schema_is_json(tmp_path: Path) -> None:
    assert "policy" in json.loads(autotuner("config", "schema", cwd=tmp_path).stdout)


def test_a_replay_finds_better_settings_and_leaves_a_history(tmp_path: Path) -> None:
    done = autotuner(
        "simulate", "--hours", "2", "--rate", "1.8", "--swing", "0", "--seed", "1", "--json",
        "--history", "h.sqlite3", cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    accepted = [e for e in report["experiments"] if e["verdict"] == "ACCEPTED"]
    assert accepted
    assert accepted[0]["confidence"] >= 0.95
    tuned, alone = report["tuned"][-1], report["left_alone"][-1]
    assert tuned["goodput_rps"] > alone["goodput_rps"]
    query = "SELECT count(*) FROM v_accepted_changes"
    rows = subprocess.run(
        ["sqlite3", "h.sqlite3", query], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert int(rows.stdout) == len(accepted)
