"""A daemon on a virtual clock with a history on disk: what the crash tests drive."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from autotuner.agent.replay_system import SimulatedSystem
from autotuner.agent.stepmodel import StepModel
from autotuner.agent.traffic import ClassMix, TokenClass
from autotuner.bootstrap import Ends, assemble
from autotuner.config import Policy, parse_policy
from autotuner.daemon import Daemon
from autotuner.domain.experiment import Experiment
from autotuner.domain.knobs import Settings
from autotuner.domain.ports import LiveSettings
from autotuner.forecast.service import Forecaster, ForecastSettings
from autotuner.history.engine import open_engine
from autotuner.history.store import History
from autotuner.history.upgrade import upgrade
from autotuner.instruments import Instruments
from autotuner.replay import SimulatedTarget

START = 1767571200.0
POOR = Settings({"max_num_seqs": 32, "max_num_batched_tokens": 2048})
MIX = ClassMix((TokenClass(0.15, (800, 1200), (16, 64)), TokenClass(0.85, (64, 256), (16, 64))))
POLICY = parse_policy(
    {
        "name": "test",
        "slo": {"ttft_s": 1.5, "gap_max_s": 0.12},
        "knobs": {
            "max_num_seqs": {"levels": [16, 32]},
            "max_num_batched_tokens": {"levels": [128, 2048]},
        },
        "experiment": {
            "slot_s": 40, "washout_min_s": 2, "washout_max_s": 20, "cooldown_s": 5,
            "max_pairs": 8, "min_requests_per_slot": 10,
        },
        "proposer": {
            "kind": "hill-climb", "observe_s": 60, "min_requests": 30, "pause_s": 30,
            "retry_s": 30,
        },
    }
)  # fmt: skip


class Crash(BaseException):
    """The process is gone at this very line; nothing catches it."""


@dataclass
class FragileTarget(SimulatedTarget):
    """Ends the daemon at its n-th apply, before or after the target took it."""

    crash_at: int = 0
    after_effect: bool = False
    applies: int = field(default=0)

    def __init__(self, system: SimulatedSystem, settings: Settings) -> None:
        super().__init__(system, POLICY.space(), settings)
        self.applies = 0

    def apply(self, settings: Settings, live: LiveSettings, reason: str) -> LiveSettings:
        self.applies += 1
        crashing = self.applies == self.crash_at
        if crashing and not self.after_effect:
            raise Crash
        applied = super().apply(settings, live, reason)
        if crashing:
            raise Crash
        return applied


class FragileHistory(History):
    """Ends the daemon right after its call of the method `armed`, once.

    A call that is part of a transaction leaves nothing behind then, as with a real crash.
    """

    armed: str = ""

    def record_experiment(self, experiment: Experiment, **more: Any) -> None:
        super().record_experiment(experiment, **more)
        if not experiment.running:
            self._crash_if_armed("record_experiment")

    def set_incumbent(self, target: str, settings: Settings, **more: Any) -> None:
        super().set_incumbent(target, settings, **more)
        self._crash_if_armed("set_incumbent")

    def record_decision(self, target: str, action: str, reason: str, **more: Any) -> int:
        number = super().record_decision(target, action, reason, **more)
        if action in ("PROMOTE", "ROLLBACK"):
            self._crash_if_armed("record_decision")
        return number

    def close_orphans(self, target: str, now: float, reason: str) -> list[Experiment]:
        closed = super().close_orphans(target, now, reason)
        self._crash_if_armed("close_orphans")
        return closed

    def _crash_if_armed(self, method: str) -> None:
        if self.armed == method:
            self.armed = ""
            raise Crash


@dataclass
class Loop:
    """The target outlives the daemon; `restart` is what systemd would do."""

    folder: Path
    target: FragileTarget
    policy: Policy = POLICY
    now: float = START
    history: FragileHistory = field(init=False)
    daemon: Daemon = field(init=False)

    def __post_init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        url = f"sqlite:///{self.folder / 'history.sqlite3'}"
        upgrade(url)
        self.history = FragileHistory(open_engine(url))
        forecaster = Forecaster(ForecastSettings(use_prophet=False))
        ends = Ends(self.target, self.target, stale_s=1e9)
        self.daemon = assemble(
            "t", "simulated:", self.policy, self.history, Instruments(), ends, forecaster
        )

    def cycle(self) -> str:
        self.now += 2.0
        self.target.advance(self.now, POLICY.slo.to_domain())
        return self.daemon.run_cycle(self.now)

    @property
    def live(self) -> Settings:
        return POLICY.space().restrict(self.target.read_settings().settings)


def make_loop(folder: Path, seed: int = 3) -> Loop:
    model = StepModel(t0_s=6e-3, decode_s=0.45e-3, prefill_s=0.42e-3, context_s=4e-6, noise=0.05)
    system = SimulatedSystem(model, lambda _: 3.0, MIX, POOR, seed=seed, start_s=START)
    return Loop(folder, FragileTarget(system, POOR))
