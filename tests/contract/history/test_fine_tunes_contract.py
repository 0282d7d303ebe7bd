"""Intakes and fine-tunes as they are written and read back, on both databases."""

from __future__ import annotations

import math
from dataclasses import asdict, replace

import pytest

from autotuner.domain.errors import HistoryError
from autotuner.domain.fine_tuning import FineTune, Intake, Scores, Stage
from autotuner.history.records import Ask
from autotuner.history.store import History

AT = 1_764_000_000.0
TAKEN = Intake(
    "chat", AT, "a.jsonl", "ab12", 1, 100, 60, 25, 12, {"empty after cleaning": 3}, seconds=0.5
)
PLANNED = FineTune("chat", "v1-a", "base", (1, 3), AT, AT, reason="60 new examples")


def test_intakes_are_read_back_newest_first(history: History) -> None:
    refused = Intake("chat", AT + 1, "b.jsonl", "", refused="line 3: not JSON")
    history.record_intake(TAKEN)
    history.record_intake(refused)
    second, first = history.intakes("chat")
    assert first == TAKEN
    assert (second.refused, second.version, math.isnan(second.seconds)) == (
        "line 3: not JSON", None, True,
    )  # fmt: skip
    assert history.intakes("chat", 1) == (second,)
    assert history.intakes("other") == ()


def test_a_fine_tune_is_written_on(history: History) -> None:
    first = history.record_fine_tune(PLANNED)
    assert first.id > 0
    number = history.ask("chat", Ask.EXPERIMENT, "autotuner learn", AT, payload={"changes": {}})
    scores = Scores(2.0, 1.8, 1.5, math.nan, 0.5, 0.6)
    done = (
        first.to(Stage.TRAINING, AT + 1, attempts=1, examples=80, replayed=20)
        .to(Stage.EVALUATED, AT + 9, "better", scores=scores, seconds=8.0, update_s=0.1)
        .to(Stage.OFFERED, AT + 10, "waits", request_id=number)
    )
    assert history.record_fine_tune(done).id == first.id
    read = history.fine_tune("chat", "v1-a")
    assert read is not None
    assert math.isnan(read.scores.old_after)
    known = replace(read, scores=replace(read.scores, old_after=0.0))
    wanted = replace(done, scores=replace(scores, old_after=0.0))
    assert asdict(known) == asdict(wanted)


def test_fine_tunes_are_listed_newest_first(history: History) -> None:
    first = history.record_fine_tune(PLANNED)
    second = history.record_fine_tune(replace(PLANNED, name="v4-b", parent="v1-a", versions=(4,)))
    assert [one.name for one in history.fine_tunes("chat")] == ["v4-b", "v1-a"]
    assert [one.id for one in history.fine_tunes("chat", 1)] == [second.id]
    assert second.id > first.id
    assert history.fine_tune("chat", "nothing") is None
    assert history.fine_tunes("other") == ()


def test_what_does_not_fit_is_refused(history: History) -> None:
    history.record_fine_tune(PLANNED)
    for wrong in (
        PLANNED,  # the name is taken
        replace(PLANNED, name="x", request_id=99),
        replace(PLANNED, name="x", experiment_id="nothing"),
        replace(PLANNED, name="x", target="nobody"),
        replace(PLANNED, name="x", id=99),
    ):
        with pytest.raises(HistoryError):
            history.record_fine_tune(wrong)
    assert len(history.fine_tunes("chat")) == 1
