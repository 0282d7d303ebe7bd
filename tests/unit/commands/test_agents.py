from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from autotuner.agent.artifact import load
from autotuner.commands.agents import agent_app
from autotuner.domain.errors import AgentError


def agent(*words: str) -> Result:
    return CliRunner().invoke(agent_app, list(words))


def trained(folder: Path, *words: str) -> Result:
    return agent("train", str(folder / "mine"), "--steps", "1000", *words)


def refused(result: Result, *told: str) -> None:
    assert isinstance(result.exception, AgentError)
    for words in told:
        assert words in str(result.exception)


def test_what_is_trained_can_be_shown(tmp_path: Path) -> None:
    done = trained(tmp_path, "--seeds", "2", "--seed", "4", "--json")
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    card = load(tmp_path / "mine").card
    assert list(told["gain"]) == ["4", "5"]
    assert told["seed"] == card.seed
    shown = agent("show", str(tmp_path / "mine"))
    for words in ("seed 4", "seed 5", "weight_dtype", "log_kv_load", "format 2", "torch"):
        assert words in shown.stdout
    as_json = json.loads(agent("show", str(tmp_path / "mine"), "--json").stdout)
    assert as_json == json.loads(json.dumps(asdict(card)))


def test_an_agent_is_not_written_over_unasked(tmp_path: Path) -> None:
    (tmp_path / "mine.json").write_text("{}")
    refused(trained(tmp_path), "mine.json exists", "--replace")
    assert (tmp_path / "mine.json").read_text() == "{}"
    assert trained(tmp_path, "--replace").exit_code == 0
    assert load(tmp_path / "mine").card.name == "mine"


@pytest.mark.parametrize(("name", "told"), [("", "a folder"), ("mine.json", "without suffix")])
def test_a_path_that_names_no_agent_is_refused(tmp_path: Path, name: str, told: str) -> None:
    refused(agent("train", str(tmp_path / name), "--steps", "1000"), told)


@pytest.mark.parametrize("command", ["show", "evaluate"])
def test_an_agent_that_is_not_there_is_refused(command: str) -> None:
    refused(agent(command, "nobody"), "nobody", "agents there: ppo-v2")


def test_training_from_an_agent_that_is_not_there_ends_before_it_begins(tmp_path: Path) -> None:
    refused(trained(tmp_path, "--start", "nobody"), "nobody")
    assert list(tmp_path.iterdir()) == []
