"""A test of new weights by the real brain on a virtual clock: kept if answers are better."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from autotuner.agent.replay_system import SimulatedSystem
from autotuner.agent.stepmodel import StepModel
from autotuner.bootstrap import Ends, assemble
from autotuner.config import Config, parse_policy
from autotuner.daemon import Daemon
from autotuner.domain.experiment import Arm
from autotuner.domain.fine_tuning import FineTune, Scores, Stage
from autotuner.domain.knobs import Settings
from autotuner.domain.telemetry import GoldenBlock, ProbeReading
from autotuner.finetune.promotion import offered, rolled_back, settled, weights_in_force
from autotuner.forecast.service import Forecaster, ForecastSettings
from autotuner.history.store import History
from autotuner.instruments import Instruments
from autotuner.probing import Probing
from autotuner.replay import SimulatedTarget
from autotuner.sidelines import Sidelines
from tests.integration.daemon.loop import MIX, START
from tests.unit.finetune.runs import POLICY, configured, opened

BASE = Settings({"max_num_seqs": 32, "weights": "base"})
RIGHT = {"base": 0.60, "v1-good": 0.70, "v1-bad": 0.50}  # share of golden tokens


@dataclass
class Answers:
    """Probes of the simulated target: a block is as hard as it is for every weights."""

    target: SimulatedTarget
    blocks: list[tuple[str, GoldenBlock | None]] = field(default_factory=list)

    def probe(self, block: GoldenBlock | None = None) -> ProbeReading:
        live = self.target.read_settings()
        weights = str(live.settings["weights"])
        self.blocks.append((weights, block))
        hard = random.Random(block.first if block else 0).uniform(-0.1, 0.1)
        noise = random.Random(len(self.blocks)).gauss(0, 0.01)
        return ProbeReading(live.now, live.generation, 0, RIGHT[weights] + hard + noise)


@dataclass
class House:
    config: Config
    history: History
    target: SimulatedTarget
    answers: Answers
    daemon: Daemon
    now: float = START

    def cycles(self, count: int = 1) -> str:
        for _ in range(count):
            self.now += 2.0
            self.target.advance(self.now, parse_policy(POLICY).slo.to_domain())
            said = self.daemon.run_cycle(self.now)
        return said

    def offer(self, name: str) -> FineTune:
        tune = FineTune("chat", name, "base", (1,), self.now, self.now, Stage.EVALUATED)
        tune = self.history.record_fine_tune(replace(tune, scores=Scores(2.0, 1.8)))
        return offered(self.history, self.config, tune, "autotuner learn", self.now)

    def decided(self, name: str) -> FineTune:
        for _ in range(1000):
            self.cycles()
            settled(self.history, "chat", self.now)
            tune = self.history.fine_tune("chat", name)
            assert tune is not None
            if tune.stage is not Stage.OFFERED:
                return tune
        raise AssertionError(self.cycles())


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    config, history, policy = configured(tmp_path), opened(tmp_path), parse_policy(POLICY)
    model = StepModel(t0_s=6e-3, decode_s=0.45e-3, prefill_s=0.42e-3, context_s=4e-6, noise=0.05)
    system = SimulatedSystem(model, lambda _: 3.0, MIX, BASE, seed=3, start_s=START)
    knobs = tuple(
        replace(knob, levels=tuple(RIGHT)) if knob.open else knob for knob in policy.space()
    )
    target = SimulatedTarget(system, replace(policy.space(), knobs=knobs), BASE)
    answers = Answers(target)
    beside = Sidelines(Probing(answers, lambda work: work()))
    daemon = assemble(
        "chat", "simulated:", policy, history, Instruments(),
        Ends(target, target, stale_s=1e9, sidelines=beside),
        Forecaster(ForecastSettings(use_prophet=False)),
    )  # fmt: skip
    yield House(config, history, target, answers, daemon)
    history.close()


def test_better_weights_are_promoted_and_can_be_taken_back(house: House) -> None:
    house.cycles(40)
    house.offer("v1-good")
    done = house.decided("v1-good")
    assert done.stage is Stage.PROMOTED
    assert done.reason.startswith("ACCEPTED")
    assert weights_in_force(house.history, "chat") == "v1-good"
    assert house.target.read_settings().settings["weights"] == "v1-good"
    assert done.experiment_id is not None
    test = house.history.experiment(done.experiment_id)
    assert test is not None
    assert test.plan.outcome == "quality"
    assert [rail.measure for rail in test.plan.guardrails] == ["error_share"]
    for pair in test.pairs:
        arms = {slot.arm for slot in test.slots if slot.pair == pair.index and slot.outcome}
        assert arms == set(Arm)
    asked = [block.first for _, block in house.answers.blocks if block is not None]
    assert sorted(set(asked)) == [8 * at for at in range(len(set(asked)))]
    assert all(asked.count(first) == 2 for first in set(asked[: 2 * len(test.pairs)]))
    rolled_back(house.history, "chat", None, "ana", house.now)
    assert "rollback to weights v1-good→base" in house.cycles()
    assert house.target.read_settings().settings["weights"] == "base"
    assert weights_in_force(house.history, "chat") == "base"
    house.cycles(60)
    assert house.target.read_settings().settings["weights"] == "base"


def test_worse_weights_are_never_promoted(house: House) -> None:
    house.cycles(40)
    house.offer("v1-bad")
    done = house.decided("v1-bad")
    assert done.stage is Stage.REFUSED
    assert weights_in_force(house.history, "chat") == "base"
    assert house.target.read_settings().settings["weights"] == "base"


def test_weights_that_the_target_does_not_have_are_not_tested(house: House) -> None:
    house.cycles(40)
    house.offer("v1-gone")
    done = house.decided("v1-gone")
    assert done.stage is Stage.UNDECIDED
    assert house.target.read_settings().settings["weights"] == "base"
