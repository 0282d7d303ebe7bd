"""A daemon over a simulated target: its model is checked, and an alert tells when it is off."""

from __future__ import annotations

from pathlib import Path

import pytest

from autotuner.agent import lived
from autotuner.agent.replay_system import EngineRules, SimulatedSystem
from autotuner.agent.serving import ServingTable
from autotuner.agent.stepmodel import StepModel, StepTable
from autotuner.agent.traffic import ClassMix, TokenClass
from autotuner.bootstrap import Ends, assemble
from autotuner.config import parse_policy
from autotuner.domain.knobs import Settings
from autotuner.domain.mode import Mode
from autotuner.forecast.service import Forecaster, ForecastSettings
from autotuner.history.store import open_history
from autotuner.instruments import Instruments
from autotuner.learning_setup import learner_for
from autotuner.replay import SimulatedTarget

START = 1767571200.0
SETTINGS = Settings({"max_num_seqs": 32, "max_num_batched_tokens": 512})
MIX = ClassMix((TokenClass(0.15, (400, 600), (16, 64)), TokenClass(0.85, (32, 128), (16, 64))))
MODEL = StepModel(6e-3, 0.45e-3, 0.42e-3, 4e-6, noise=0.08)
SLOWER = StepModel(12e-3, 0.9e-3, 0.84e-3, 8e-6, noise=0.08)
EVERY_S = 60.0
POLICY = parse_policy(
    {
        "name": "test",
        "slo": {"ttft_s": 0.6, "gap_max_s": 0.12},
        "knobs": {
            "max_num_seqs": {"levels": [16, 32]},
            "max_num_batched_tokens": {"levels": [512]},
        },
        "proposer": {"kind": "hill-climb"},
        "learning": {"check_every_s": EVERY_S, "calibrate_every_s": 7200},
    }
)  # fmt: skip


class Rig:
    """A paused daemon with a learner, driven on a virtual clock."""

    def __init__(self, folder: Path) -> None:
        self.model = MODEL
        rules = EngineRules(lambda _: ServingTable.plain(StepTable.of([self.model])))
        system = SimulatedSystem(rules, lambda _: 3.0, MIX, SETTINGS, seed=1, start_s=START)
        self.target = SimulatedTarget(system, POLICY.space(), SETTINGS)
        self.history = open_history(f"sqlite:///{folder / 'history.sqlite3'}")
        self.folder, self.now, self.instruments = folder, START, Instruments()
        learner = learner_for("t", POLICY, self.history, folder, replicas=1)
        assert learner is not None
        self.learner = learner
        self.daemon = assemble(
            "t", "simulated:", POLICY, self.history, self.instruments,
            Ends(self.target, self.target, stale_s=1e9),
            Forecaster(ForecastSettings(use_prophet=False)),
            mode=Mode.PAUSED, learner=learner,
        )  # fmt: skip

    def run(self, checks: int) -> None:
        for _ in range(checks):
            for _ in range(int(EVERY_S // 5)):
                self.now += 5.0
                self.target.advance(self.now, POLICY.slo.to_domain())
                self.daemon.run_cycle(self.now)
            self.learner.check(self.now)
        self.now += 5.0
        self.target.advance(self.now, POLICY.slo.to_domain())
        self.daemon.run_cycle(self.now)

    def becomes(self, model: StepModel) -> None:
        """The target's steps take other times from now on; its settings stay what they are."""
        self.model = model
        self.target.apply(SETTINGS, self.target.read_settings(), "the same once more")

    def gauge(self, figure: str) -> float | None:
        labels = {"target": "t", "figure": figure}
        return self.instruments.registry.get_sample_value("autotuner_model_error_ratio", labels)

    def firing(self) -> list[str]:
        return [alert.name for alert in self.history.firing_alerts("t")]


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path)


def test_checks_are_kept_and_shown_and_the_alert_tells_of_a_slower_target(rig: Rig) -> None:
    rig.run(checks=6)
    kept = rig.history.model_checks("t", since=START)
    figures = {"attainment", "goodput", "ttft_s", "tpot_s", "e2el_s", "step_s"}
    assert {one.figure for one in kept} == figures
    assert all(one.settings == SETTINGS for one in kept)
    errors = {figure: rig.gauge(figure) for figure in ("ttft_s", "tpot_s", "goodput")}
    assert all(error is not None and error < 0.2 for error in errors.values()), errors
    assert rig.firing() == []
    [moment] = lived.read(rig.folder / "lived.json")
    assert moment.rate_rps == pytest.approx(3.0, rel=0.3)

    rig.becomes(SLOWER)
    rig.run(checks=9)
    assert "ModelOff" in rig.firing()
    [alert] = [one for one in rig.history.firing_alerts("t") if one.name == "ModelOff"]
    assert "the agent's model is off by" in alert.summary


def test_a_daemon_without_traffic_says_nothing_of_its_model(tmp_path: Path) -> None:
    quiet = Rig(tmp_path)
    quiet.learner.check(START)
    assert quiet.history.model_checks("t", since=0.0) == ()
    assert quiet.learner.condition.active is None
    assert quiet.gauge("ttft_s") is None
