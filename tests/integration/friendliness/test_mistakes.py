"""What a person does wrong is answered with what to do, whichever command it was."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from autotuner.cli import app
from autotuner.domain.errors import AutotunerError

pytestmark = pytest.mark.process
GOOD = "targets: [{name: a, url: 'http://127.0.0.1:9'}]\n"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("AUTOTUNER_CONFIG", raising=False)
    (tmp_path / "good.yaml").write_text(GOOD)
    (tmp_path / "scheme.yaml").write_text(GOOD.replace("http", "ftp"))
    (tmp_path / "name.yaml").write_text(GOOD.replace("name: a", "name: a b"))
    (tmp_path / "broken.yaml").write_text("a: [1\n")
    (tmp_path / "mysql.yaml").write_text(GOOD + "history: 'mysql://h/d'\n")
    (tmp_path / "nowhere.yaml").write_text(GOOD + "history: 'sqlite:///no/h.sqlite3'\n")
    (tmp_path / "file").write_text("")
    return tmp_path


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("status", "make one: autotuner init --out autotuner.yaml"),
        ("config check scheme.yaml", "give an address that begins with http:// or https://"),
        ("config check name.yaml", "give letters, digits, dots, dashes and underscores"),
        ("config check broken.yaml", "not valid YAML; mend it there"),
        ("config check .", "give a readable YAML file"),
        ("status -c mysql.yaml", "give sqlite:///PATH or postgresql://"),
        ("status -c nowhere.yaml", "there is no folder no: create it"),
        ("status -c good.yaml -t b", "--target='b': unknown; give one of a"),
        ("history list -c good.yaml -t b", "--target='b': unknown; give one of a"),
        ("experiment list -c good.yaml -t b", "--target='b': unknown; give one of a"),
        ("experiment report x -c good.yaml", "see `autotuner history list`"),
        ("load --url http://127.0.0.1:9", "start the server, or mend --url"),
        ("demo --folder file/x", "--folder=file/x: can't be made"),
        ("agent improve -c good.yaml -t b", "--target='b': unknown; give one of a"),
    ],
)
def test_a_mistake_is_answered_with_the_fix(words: str, told: str) -> None:
    done = CliRunner().invoke(app, words.split())
    assert isinstance(done.exception, AutotunerError), done.output
    assert told in str(done.exception)


def test_the_configuration_may_be_named_once_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTOTUNER_CONFIG", "good.yaml")
    done = CliRunner().invoke(app, ["status"])
    assert done.exit_code == 0, done.output
    assert "target a" in done.output
