"""What `autotuner learn` shows and asks for; runs themselves are tested elsewhere."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner, Result

from autotuner.cli import app
from autotuner.domain.errors import AutotunerError
from autotuner.domain.fine_tuning import FineTune, Scores, Stage
from autotuner.domain.knobs import Settings
from autotuner.history.store import History
from tests.unit.finetune.runs import START, configured, opened

KEPT = FineTune(
    "chat", "v1-a", "base", (1,), START, START + 60, Stage.PROMOTED, 80, 20, 1, 12.0, 0.1,
    Scores(2.0, 1.8, agreement_before=0.5, agreement_after=0.6, pairing=0.4), "ACCEPTED: better",
)  # fmt: skip
Learn = Callable[..., Result]


@pytest.fixture
def history(tmp_path: Path) -> Iterator[History]:
    """Of a target whose live weights are v1-a; v2-b was not decided."""
    found = opened(tmp_path)
    found.record_target("chat", kind="worker", url="http://127.0.0.1:1", at=START)
    live = Settings({"max_num_seqs": 32, "weights": "v1-a"})
    found.set_incumbent("chat", live, at=START, why="accepted")
    found.record_fine_tune(KEPT)
    undecided = replace(KEPT, name="v2-b", parent="v1-a", stage=Stage.UNDECIDED, reason="aborted")
    found.record_fine_tune(undecided)
    yield found
    found.close()


@pytest.fixture
def learn(tmp_path: Path, history: History) -> Learn:
    config = configured(tmp_path)
    told = {**config.model_dump(mode="json", exclude_unset=True)}
    file = tmp_path / "autotuner.yaml"
    file.write_text(yaml.safe_dump({**told, "history": str(history.url)}))

    def asked(*words: str) -> Result:
        return CliRunner().invoke(app, ["learn", *words, "-c", str(file)])

    return asked


def as_json(result: Result) -> Any:
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_status_says_what_is_in_force_and_next(learn: Learn) -> None:
    told = as_json(learn("status", "--json"))
    assert (told["weights"], told["running"], told["last"]["name"]) == ("v1-a", False, "v2-b")
    said = learn("status").output
    assert "chat: weights v1-a" in said
    assert "last: v2-b is undecided: aborted" in said


def test_versions_and_one_of_them(learn: Learn) -> None:
    rows = as_json(learn("versions", "--json"))
    assert [(row["name"], row["in_force"]) for row in rows] == [("v2-b", False), ("v1-a", True)]
    assert "* in force: v1-a" in learn("versions").output
    one = as_json(learn("show", "v1-a", "--json"))
    assert (one["new_after"], one["old_after"], one["stage"]) == (1.8, None, "promoted")
    assert "pairing            0.4000" in learn("show", "v1-a").output
    missing = learn("show", "v9")
    assert isinstance(missing.exception, AutotunerError)
    assert "see `autotuner learn versions`" in str(missing.exception)


def test_weights_that_were_not_kept_are_offered_again(
    learn: Learn, history: History, tmp_path: Path
) -> None:
    assert "there is no adapter 'v2-b'" in str(learn("promote", "v2-b").exception)
    (tmp_path / "adapters" / "v2-b").mkdir(parents=True)
    (tmp_path / "adapters" / "v2-b" / "adapter_config.json").write_text("{}")
    asked = as_json(learn("promote", "v2-b", "--json"))
    (control,) = history.declared("chat")
    assert (asked["stage"], asked["request"]) == ("offered", control.id)
    assert "only weights that were not kept" in str(learn("promote", "v1-a").exception)


def test_rollback_asks_for_what_was_before(learn: Learn, history: History) -> None:
    told = as_json(learn("rollback", "--json"))
    assert told == {"target": "chat", "were": "v1-a", "will_be": "base"}
    (control,) = history.take_controls("chat", START)
    assert control.payload == {"changes": {"weights": "base"}}
    assert "there is no adapter 'v9'" in str(learn("rollback", "--to", "v9").exception)


def test_without_the_section_the_fix_is_told(learn: Learn, tmp_path: Path) -> None:
    file = tmp_path / "autotuner.yaml"
    told = yaml.safe_load(file.read_text())
    del told["learn"]
    file.write_text(yaml.safe_dump(told))
    assert "learn: missing; give learn.folder" in str(learn("status").exception)
