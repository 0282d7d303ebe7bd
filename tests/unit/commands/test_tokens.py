"""`autotuner token`: a token is shown once, its hash kept, and mistakes are told."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner, Result

from autotuner.cli import app
from autotuner.domain.errors import ConfigError
from autotuner.web.tokens import Role, TokenBook


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "tokens"


def token(*words: str) -> Result:
    return CliRunner().invoke(app, ["token", *words])


def mistake(result: Result) -> str:
    assert isinstance(result.exception, ConfigError), result.output
    return str(result.exception)


def test_a_token_is_shown_once_and_known_again(file: Path) -> None:
    made = token("new", "--name", "ana", "--role", "operator", "--file", str(file))
    assert made.exit_code == 0
    shown = made.stdout.strip()
    entry = TokenBook(file).of(shown)
    assert entry is not None
    assert (entry.name, entry.role) == ("ana", Role.OPERATOR)
    assert shown not in file.read_text()
    assert shown not in token("list", "--file", str(file)).output


def test_others_stay_when_one_comes_or_goes(file: Path) -> None:
    first = token("new", "--name", "ana", "--file", str(file)).stdout.strip()
    second = token("new", "--name", "bob", "--file", str(file)).stdout.strip()
    assert token("revoke", "--name", "ana", "--file", str(file)).exit_code == 0
    book = TokenBook(file)
    assert book.of(first) is None
    assert book.of(second) is not None
    listed = json.loads(token("list", "--file", str(file), "--json").stdout)
    assert listed == [{"name": "bob", "role": "viewer"}]


def test_the_file_keeps_its_mode(file: Path) -> None:
    token("new", "--name", "ana", "--file", str(file))
    file.chmod(0o640)
    token("new", "--name", "bob", "--file", str(file))
    assert file.stat().st_mode & 0o777 == 0o640


def test_the_configuration_names_the_file(tmp_path: Path, file: Path) -> None:
    config = tmp_path / "a.yaml"
    told = {"targets": [{"name": "chat", "url": "http://127.0.0.1:9"}]}
    config.write_text(yaml.safe_dump(told))
    assert "listen.tokens_file" in mistake(token("new", "--name", "ana", "-c", str(config)))
    config.write_text(yaml.safe_dump({**told, "listen": {"tokens_file": str(file)}}))
    made = token("new", "--name", "ana", "-c", str(config), "--json")
    assert json.loads(made.stdout)["file"] == str(file)


def test_mistakes_name_the_option_and_the_fix(file: Path) -> None:
    place = ("--file", str(file))
    assert "operator" in mistake(token("new", "--name", "ana", "--role", "admin", *place))
    assert "letters" in mistake(token("new", "--name", "a b", *place))
    assert "--file" in mistake(token("new", "--name", "ana"))
    token("new", "--name", "ana", *place)
    assert "revoke" in mistake(token("new", "--name", "ana", *place))
    assert "there is ana" in mistake(token("revoke", "--name", "bob", *place))
