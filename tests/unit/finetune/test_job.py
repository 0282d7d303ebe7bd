"""A run from files to a live test that is asked for; killed anywhere, the next one goes on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from autotuner.config import Config
from autotuner.domain.errors import ConfigError
from autotuner.domain.experiment import Conclusion, Experiment, Plan, Verdict
from autotuner.domain.fine_tuning import FineTune, Stage
from autotuner.domain.knobs import Settings
from autotuner.finetune.errors import StoreBusyError
from autotuner.finetune.job import Job
from autotuner.finetune.promotion import rolled_back, settled, weights_in_force
from autotuner.history.records import Ask
from autotuner.history.store import History
from tests.unit.finetune.runs import (
    START,
    FakeModel,
    Killed,
    configured,
    drop,
    examples,
    opened,
)

BASE = Settings({"max_num_seqs": 32, "weights": "base"})


@dataclass
class House:
    """One target's configuration, history and model; `run` is one process."""

    folder: Path
    config: Config
    history: History
    model: FakeModel
    now: float = START

    def drop(self, name: str, rows: list[dict[str, Any]]) -> Path:
        self.model.knows += rows
        return drop(self.config, name, rows)

    def run(self) -> str:
        self.now += 100.0
        return Job(self.config, self.history, self.model, clock=lambda: self.now).run()

    @property
    def last(self) -> FineTune:
        return self.history.fine_tunes("chat")[0]

    def decide(self, verdict: Verdict) -> FineTune:
        """The live test of the last fine-tune runs and ends so, as the daemon records it."""
        tune = self.last
        assert tune.request_id is not None
        control = self.history.control(tune.request_id)
        assert control is not None
        assert control.payload is not None
        live = self.history.incumbent("chat")
        assert live is not None
        treatment = live.settings.with_values(**control.payload["changes"])
        test = Experiment(f"exp-{tune.id}", "chat", live.settings, treatment, Plan(), 1, self.now)
        end = Conclusion(verdict, "as the test says", 8, 0.05, 0.01, 0.09, 0.97)
        with self.history.together():
            self.history.record_experiment(test.closed(end))
            self.history.take_control(control.id, self.now, experiment_id=test.id)
            if verdict is Verdict.ACCEPTED:
                self.history.set_incumbent(
                    "chat", treatment, at=self.now, why="accepted", experiment_id=test.id
                )
        settled(self.history, "chat", self.now + 1)
        return self.last


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    history = opened(tmp_path)
    history.record_target("chat", kind="worker", url="http://127.0.0.1:1", at=START)
    history.set_incumbent("chat", BASE, at=START, why="found running")
    yield House(tmp_path, configured(tmp_path), history, FakeModel())
    history.close()


def test_from_a_file_to_promoted_weights(house: House) -> None:
    house.drop("a.jsonl", examples(60, "new"))
    said = house.run()
    tune = house.last
    assert (tune.stage, tune.parent, tune.versions, tune.attempts) == (
        Stage.OFFERED, "base", (1,), 1,
    )  # fmt: skip
    assert "a.jsonl: 60 of 60 examples kept (v1)" in said
    assert tune.scores.new_before - tune.scores.new_after == pytest.approx(0.2)
    assert (house.folder / "adapters" / tune.name / "adapter_config.json").is_file()
    assert (house.folder / "golden.jsonl").read_text().count("\n") > 5
    (control,) = house.history.declared("chat")
    assert control.payload is not None
    assert control.payload["changes"] == {"weights": tune.name}
    plan = control.payload["plan"]
    assert (plan["outcome"], plan["probe_items"], plan["slot_s"]) == ("quality", 8, 20)
    assert [rail["measure"] for rail in plan["guardrails"]] == ["error_share"]
    assert "is not decided yet" in house.run()
    done = house.decide(Verdict.ACCEPTED)
    assert (done.stage, done.experiment_id) == (Stage.PROMOTED, f"exp-{done.id}")
    assert weights_in_force(house.history, "chat") == tune.name
    assert "0 new examples are there" in house.run()


def test_the_next_one_goes_on_from_the_weights_in_force_and_replays_the_old(house: House) -> None:
    house.drop("a.jsonl", examples(60, "old"))
    house.run()
    first = house.decide(Verdict.ACCEPTED)
    house.drop("b.jsonl", examples(40, "new"))
    house.run()
    second = house.last
    assert second.parent == first.name
    assert second.versions == (2,)
    assert second.replayed == round((second.examples - second.replayed) / 3)
    assert house.model.trained[-1] == (second.examples, house.folder / "adapters" / first.name)
    assert second.scores.forgetting == pytest.approx(0.0)


def test_what_forgets_is_refused_and_its_examples_are_left_out(house: House) -> None:
    house.drop("a.jsonl", examples(60, "old"))
    house.run()
    house.decide(Verdict.ACCEPTED)
    house.drop("b.jsonl", examples(40, "new"))
    house.model.forgets = 0.1
    house.run()
    assert house.last.stage is Stage.REFUSED
    assert "a rise of 0.05 is allowed" in house.last.reason
    assert not any(control.waits for control in house.history.declared("chat"))
    assert "0 new examples are there" in house.run()


def test_labels_that_were_mixed_up_are_refused(house: House) -> None:
    house.drop("a.jsonl", examples(60, "new"))
    house.model.pairing = 0.02
    house.run()
    assert house.last.stage is Stage.REFUSED
    assert "were the labels mixed up?" in house.last.reason


def test_labels_that_were_mixed_up_do_not_hide_behind_a_sound_file(house: House) -> None:
    house.drop("a.jsonl", examples(60, "sound"))
    house.drop("b.jsonl", examples(60, "other"))
    house.model.pairing = 0.0
    house.model.lost = "sound"
    house.run()
    assert house.last.versions == (1, 2)
    assert house.last.stage is Stage.REFUSED
    assert "were the labels mixed up?" in house.last.reason


@pytest.mark.parametrize(
    ("verdict", "stage"),
    [
        (Verdict.REJECTED, Stage.REFUSED),
        (Verdict.HARMFUL, Stage.REFUSED),
        (Verdict.INCONCLUSIVE, Stage.UNDECIDED),
    ],
)
def test_only_an_accepted_test_promotes(house: House, verdict: Verdict, stage: Stage) -> None:
    house.drop("a.jsonl", examples(60, "new"))
    house.run()
    assert house.decide(verdict).stage is stage
    assert weights_in_force(house.history, "chat") == "base"
    tried = len(house.model.trained)
    house.run()
    again = stage is Stage.UNDECIDED
    assert len(house.model.trained) == tried + again


def test_a_run_that_is_killed_is_gone_on_with(house: House) -> None:
    house.drop("a.jsonl", examples(60, "new"))
    house.model.killed = 2
    for _ in range(2):
        with pytest.raises(Killed):
            house.run()
        assert house.last.stage is Stage.TRAINING
    house.run()
    assert (house.last.stage, house.last.attempts) == (Stage.OFFERED, 3)
    assert house.model.resumed == 2
    assert len(house.history.fine_tunes("chat")) == 1
    assert [one.version for one in house.history.intakes("chat")] == [1]


def test_a_training_that_never_ends_fails_in_the_end(house: House) -> None:
    house.drop("a.jsonl", examples(60, "new"))
    house.model.killed = 99
    for _ in range(5):
        with pytest.raises(Killed):
            house.run()
    assert "v1-" in house.run()
    assert house.last.stage is Stage.FAILED
    assert "was begun 5 times" in house.last.reason


def test_a_model_that_can_not_be_trained_fails_with_its_reason(house: House) -> None:
    house.drop("a.jsonl", examples(60, "new"))
    house.model.problem = "rank=0: give 1 or more"
    house.run()
    assert (house.last.stage, house.last.reason) == (Stage.FAILED, "rank=0: give 1 or more")


def test_a_file_that_is_no_good_is_refused_whole_and_put_away(house: House) -> None:
    bad = house.drop("bad.jsonl", examples(40, "new"))
    (bad.parent / "bad.jsonl.sha256").write_text(f"{'0' * 64}  bad.jsonl\n")
    house.drop("few.jsonl", examples(10, "few"))
    said = house.run()
    assert "bad.jsonl is refused" in said
    assert "asked for: nothing is trained" in said
    taken, refused = house.history.intakes("chat")
    assert (taken.version, taken.kept, refused.version) == (1, 10, None)
    assert "sha256" in refused.refused.lower() or "checksum" in refused.refused.lower()
    assert sorted(path.name for path in (bad.parent / "refused").iterdir()) == [
        "bad.jsonl", "bad.jsonl.sha256",
    ]  # fmt: skip
    house.drop("again.jsonl", examples(10, "few"))
    assert "again.jsonl: in the store already, as v1" in house.run()


def test_one_run_at_a_time(house: House) -> None:
    job = Job(house.config, house.history, house.model)
    with job.places.locked(), pytest.raises(StoreBusyError, match="another run is under way"):
        house.run()


def test_weights_need_their_knob_in_the_policy(house: House) -> None:
    target = house.config.targets[0].model_copy(update={"policy": "default"})
    config = house.config.model_copy(update={"targets": [target]})
    with pytest.raises(ConfigError, match=r"add `weights: \{levels: \[base\], open: true"):
        Job(config, house.history, house.model)


def test_promoted_weights_are_taken_back_by_a_request(house: House) -> None:
    house.drop("a.jsonl", examples(60, "new"))
    house.run()
    tune = house.decide(Verdict.ACCEPTED)
    assert rolled_back(house.history, "chat", None, "ana", house.now) == (tune.name, "base")
    (asked,) = house.history.take_controls("chat", house.now)
    assert (asked.what, asked.payload) == (Ask.ROLLBACK, {"changes": {"weights": "base"}})
    assert house.last.stage is Stage.ROLLED_BACK
    assert house.last == replace(house.last, reason="ana asked for base again")
