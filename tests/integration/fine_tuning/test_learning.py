"""From a file of examples to weights that are live, on a real worker under load."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from autotuner.domain.fine_tuning import Stage
from tests.integration.fine_tuning.house import Load, opened, rows

# Every change of arm is a new engine process: some ten of them.
pytestmark = [pytest.mark.process, pytest.mark.timeout(600)]

LIMIT_S = 400.0


def test_better_weights_are_live_in_the_end_and_no_request_failed(tmp_path: Path) -> None:
    with opened(tmp_path, epochs=40) as house:
        load = Load(house.worker.url)
        try:
            house.drop("a.jsonl", rows(100))
            # The job is killed in its training; the next one goes on with it.
            runs = tmp_path / "learn" / "runs"
            with house.started_run() as process:
                while not list(runs.glob("*/checkpoints/[0-9]*")):
                    assert process.poll() is None, "its training ended before it could be killed"
                    time.sleep(0.01)
            assert house.last.stage is Stage.TRAINING
            said = house.run()
            tune = house.last
            assert tune.stage is Stage.OFFERED, said
            assert tune.attempts == 2
            assert tune.scores.new_after < tune.scores.new_before
            house.probe()
            done = house.cycles_until_decided(LIMIT_S)
            assert done.stage is Stage.PROMOTED, done.reason
            house.cycles_until_live(tune.name, LIMIT_S)
        finally:
            load.close()
        assert load.failed == []
        assert load.served > 20


def test_shuffled_labels_are_never_promoted(tmp_path: Path) -> None:
    with opened(tmp_path) as house:
        house.drop("shuffled.jsonl", rows(100, shuffled=True))
        said = house.run()
        assert house.last.stage is Stage.REFUSED, said
        assert not any(control.waits for control in house.history.declared("chat"))
        assert house.weights == "base"
