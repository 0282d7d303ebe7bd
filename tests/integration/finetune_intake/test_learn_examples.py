"""`autotuner learn add | examples`: what is said, and what the history keeps."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner, Result

from autotuner.cli import app
from autotuner.finetune.errors import RefusedFileError
from autotuner.history.store import open_history
from tests.unit.finetune.intake.given import distinct, write

Learn = Callable[..., Result]


@pytest.fixture
def learn(tmp_path: Path) -> Learn:
    config = tmp_path / "a.yaml"
    told = {
        "history": f"sqlite:///{tmp_path / 'h.sqlite3'}",
        "targets": [{"name": "chat", "url": "http://127.0.0.1:9", "policy": "learning.yaml"}],
        "learn": {"folder": str(tmp_path / "learn"), "adapters": str(tmp_path / "adapters")},
    }
    policy = Path(__file__).parents[3] / "policies" / "default.yaml"
    said = yaml.safe_load(policy.read_text())
    said["knobs"]["weights"] = {
        "levels": ["base"], "open": True, "live": False, "changes_answers": True,
    }  # fmt: skip
    (tmp_path / "learning.yaml").write_text(yaml.safe_dump(said))
    config.write_text(yaml.safe_dump(told))
    runner = CliRunner(env={"COLUMNS": "250"})
    return lambda *words: runner.invoke(app, ["learn", *words, "-c", str(config)])


def test_a_file_is_added_listed_and_not_added_twice(tmp_path: Path, learn: Learn) -> None:
    assert "no examples yet" in learn("examples").output
    pairs = distinct(40)
    file = str(write(tmp_path / "new.jsonl", [*pairs, *pairs[:5], ("a", "")]))
    told = learn("add", file).output
    assert "v1: 40 of 46 examples kept" in told
    assert "exact duplicates 5, empty answer 1" in told
    assert "new.jsonl: in the store already, as v1" in learn("add", file).output
    assert json.loads(learn("add", file, "--json").stdout)["again"] is True
    (listed,) = json.loads(learn("examples", "--json").stdout)
    assert (listed["number"], listed["kept"], listed["exact_duplicates"]) == (1, 40, 5)
    assert listed["dropped"] == {"empty_answer": 1}
    row = next(line for line in learn("examples").output.splitlines() if "new.jsonl" in line)
    assert "empty answer 1" in row


def test_a_refusal_is_told_and_kept_in_the_history(tmp_path: Path, learn: Learn) -> None:
    file = write(tmp_path / "bad.jsonl", distinct(3))
    wrong = learn("add", str(file), "--sha256", "0" * 64)
    assert isinstance(wrong.exception, RefusedFileError)
    assert "the checksum says" in str(wrong.exception)
    file.write_bytes(b"\x7fELF\x00")
    assert isinstance(learn("add", str(file)).exception, RefusedFileError)
    history = open_history(f"sqlite:///{tmp_path / 'h.sqlite3'}")
    refusals = [one.refused for one in history.intakes("chat")]
    history.close()
    assert len(refusals) == 2
    assert "line 1: holds a NUL byte" in refusals[0]
    assert "no examples yet" in learn("examples").output
