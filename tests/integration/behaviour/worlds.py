"""Simulated targets with a daemon over them, for tests of how the whole behaves over hours."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from autotuner.agent.des_faults import NO_FAULTS, Faults
from autotuner.agent.replay_system import EngineRules, SimulatedSystem
from autotuner.agent.serving import Serving, ServingTable
from autotuner.agent.stepmodel import StepModel
from autotuner.agent.traffic import ClassMix, TokenClass
from autotuner.bootstrap import Ends, assemble
from autotuner.config import parse_policy
from autotuner.domain.knobs import Settings, Value
from autotuner.domain.ports import Proposal, ProposalContext
from autotuner.forecast.service import Forecaster, ForecastSettings
from autotuner.history.store import History, open_history
from autotuner.instruments import Instruments
from autotuner.replay import SimulatedTarget, Span, drive
from autotuner.tuner import Tuner

START = 1_767_571_200.0
MODEL = StepModel(t0_s=0.02, decode_s=1e-3, prefill_s=0.4e-3, context_s=4e-6, noise=0.05)
MIX = ClassMix((TokenClass(1.0, (64, 256), (16, 64)),))
FEW = Settings({"max_num_seqs": 8, "max_num_batched_tokens": 512})
MANY = FEW.with_values(max_num_seqs=64)
POLICY: dict[str, Any] = {
    "name": "p",
    "slo": {"ttft_s": 0.3, "gap_max_s": 0.5},
    "knobs": {
        "max_num_seqs": {"levels": [4, 8, 64]},
        "max_num_batched_tokens": {"levels": [128, 512]},
    },
    "experiment": {"slot_s": 30, "washout_max_s": 10, "cooldown_s": 3, "max_pairs": 12},
    "proposer": {
        "kind": "hill-climb", "observe_s": 60, "min_requests": 10, "pause_s": 30, "retry_s": 300,
    },
}  # fmt: skip

# Two devices in use; a saving of one where the SLO is met.
PAIRED = FEW.with_values(data_parallel_size=2)
SAVING = {
    **POLICY,
    "knobs": {**POLICY["knobs"], "data_parallel_size": {"levels": [1, 2]}},
    "experiment": {**POLICY["experiment"], "max_pairs": 20},
    "goal": {"kind": "devices", "attainment": 0.9, "margin": 0.05},
}


def _serving(settings: Mapping[str, Value]) -> ServingTable:
    replicas = int(settings.get("data_parallel_size", 1))
    return ServingTable.of([Serving(MODEL, replicas=replicas)])


@dataclass
class Wishing:
    """Offers the first of its candidates that it may; remembers what it was shown."""

    candidates: Sequence[Settings]
    shown: list[ProposalContext] = field(default_factory=list)

    def propose(self, context: ProposalContext) -> Proposal | None:
        self.shown.append(context)
        barred = {context.incumbent.digest, *context.quarantined}
        open_ = [c for c in self.candidates if c.digest not in barred]
        return Proposal(open_[0], "wishing", "it looks better", 0.3) if open_ else None


@dataclass
class Lived:
    """A stretch of life of a target under the daemon."""

    said: list[str]
    target: SimulatedTarget
    history: History
    proposer: Wishing | None

    @property
    def live(self) -> Settings:
        return Settings(self.target.read_settings().settings)


def live(
    folder: Path,
    rate_rps: float,
    hours: float,
    proposer: Wishing | None = None,
    faults: Faults = NO_FAULTS,
    start: Settings = FEW,
    policy_data: Mapping[str, Any] = POLICY,
) -> Lived:
    """The daemon over a simulated target; the policy's hill climbing where there is no proposer."""
    policy = parse_policy(policy_data)
    rules = EngineRules(_serving, rebuild_knobs=frozenset({"data_parallel_size"}), faults=faults)
    system = SimulatedSystem(rules, lambda _: rate_rps, MIX, start, seed=3, start_s=START)
    target = SimulatedTarget(system, policy.space(), start)
    history = open_history(f"sqlite:///{folder / 'history.sqlite3'}")
    forecaster = Forecaster(ForecastSettings(step_s=300.0, use_prophet=False))
    ends = Ends(target, target, stale_s=math.inf)
    daemon = assemble("t", "simulated:", policy, history, Instruments(), ends, forecaster)
    if proposer is not None:
        daemon.tuner = Tuner(daemon.tuner.rules, proposer)
    said: list[str] = []

    def told(_: float) -> None:
        beat = history.status("t").heartbeat
        said.append(beat.sentence if beat else "")

    span = Span(START, hours * 3600, 5.0, 3600.0)
    drive(daemon, target, policy.slo.to_domain(), span, told)
    return Lived(said, target, history, proposer)
