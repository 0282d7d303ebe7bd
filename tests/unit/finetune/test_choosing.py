"""Which examples are new, which are known, and when a run is due."""

from __future__ import annotations

from autotuner.domain.fine_tuning import FineTune, Stage
from autotuner.finetune.choosing import chosen, replay_count
from autotuner.finetune.schedule import is_due, last_due, next_due

MIDNIGHT = 20_000 * 86400.0
HOUR = 3600.0
AT = ("02:00", "10:00", "18:30")


def tune(stage: Stage, *versions: int) -> FineTune:
    return FineTune("chat", f"{stage}-{versions}", "base", versions, 1.0, 1.0, stage)


def test_what_was_promoted_is_known_and_what_was_refused_is_left_out() -> None:
    tunes = [
        tune(Stage.PROMOTED, 1, 2),
        tune(Stage.REFUSED, 3),
        tune(Stage.UNDECIDED, 4),
        tune(Stage.FAILED, 5),
        tune(Stage.ROLLED_BACK, 6),
    ]
    choice = chosen(range(1, 8), tunes)
    assert choice.old == (1, 2)
    assert choice.new == (4, 5, 7)
    assert choice.sound == (1, 2, 4, 5, 7)


def test_a_version_that_was_refused_once_and_kept_later_is_known() -> None:
    assert chosen([1], [tune(Stage.PROMOTED, 1), tune(Stage.REFUSED, 1)]).old == (1,)


def test_the_share_of_older_examples_is_of_all() -> None:
    assert replay_count(300, 0.25) == 100
    assert replay_count(300, 0.0) == 0


def test_a_run_is_due_once_after_each_time_of_the_day() -> None:
    assert last_due(AT, MIDNIGHT + 11 * HOUR) == MIDNIGHT + 10 * HOUR
    assert last_due(AT, MIDNIGHT + HOUR) == MIDNIGHT - 5.5 * HOUR
    assert last_due(AT, MIDNIGHT + 10 * HOUR) == MIDNIGHT + 10 * HOUR
    assert next_due(AT, MIDNIGHT + 10 * HOUR) == MIDNIGHT + 18.5 * HOUR
    assert next_due(AT, MIDNIGHT + 19 * HOUR) == MIDNIGHT + 26 * HOUR
    assert is_due(AT, MIDNIGHT + 3 * HOUR, MIDNIGHT + 10 * HOUR)
    assert not is_due(AT, MIDNIGHT + 10 * HOUR, MIDNIGHT + 18 * HOUR)
    assert is_due(AT, MIDNIGHT - 30 * HOUR, MIDNIGHT + HOUR), "missed ones are made up for once"
