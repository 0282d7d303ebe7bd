"""`autotuner quarantine`: what is not tried, and one that may be tried again."""

from __future__ import annotations

import getpass
import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner, Result

from autotuner.cli import app
from autotuner.history.store import History
from tests.integration.commands.support import LIVE, daemon_lives, mistake

Quarantine = Callable[..., Result]
BAD = LIVE.with_values(max_num_seqs=64)


@pytest.fixture
def quarantine(tmp_path: Path, history: History) -> Quarantine:
    target = {"name": "chat", "url": "http://127.0.0.1:9"}
    told = {"history": f"sqlite:///{tmp_path / 'h.sqlite3'}", "targets": [target]}
    path = tmp_path / "a.yaml"
    path.write_text(yaml.safe_dump(told))
    daemon_lives(history)

    def run(*words: str) -> Result:
        runner = CliRunner(env={"COLUMNS": "200"})
        return runner.invoke(app, ["quarantine", *words, "-c", str(path)])

    return run


def test_one_is_listed_and_lifted_with_who_and_why(
    quarantine: Quarantine, history: History
) -> None:
    assert quarantine("list").stdout == "nothing is in quarantine\n"
    history.quarantine("chat", BAD, reason="start-kv: no room", at=time.time())
    shown = quarantine("list").stdout
    for part in (BAD.digest[:12], "max_num_seqs=64", "for good", "start-kv: no room"):
        assert part in shown
    (listed,) = json.loads(quarantine("list", "--json").stdout)
    assert (listed["digest"], listed["until_at"]) == (BAD.digest, None)
    assert "say why" in mistake(quarantine("lift", BAD.digest, "--comment", " "))
    said = quarantine("lift", BAD.digest[:12], "--comment", "a larger GPU").stdout
    assert "may be tried again, from the daemon's next cycle on" in said
    assert quarantine("list").stdout == "nothing is in quarantine\n"
    assert history.decisions("chat", limit=1)[0].reason.startswith(f"{getpass.getuser()} lets ")
    assert "nothing like it" in mistake(quarantine("lift", BAD.digest, "--comment", "again"))
    assert "unknown; give one of chat" in mistake(quarantine("list", "--target", "chta"))
