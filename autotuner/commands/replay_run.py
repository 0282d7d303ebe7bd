"""Sets a replay up: policy, simulated system and history; runs it twice, tuned and left alone."""

from __future__ import annotations

import logging
import math
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import structlog
from rich.console import Console
from rich.progress import Progress

from autotuner.agent.replay_system import SimulatedSystem
from autotuner.agent.stepmodel import CPU_PRIOR
from autotuner.agent.traffic import ClassMix, TokenClass
from autotuner.bootstrap import Ends, assemble
from autotuner.config import Policy, load_policy
from autotuner.domain.errors import ConfigError
from autotuner.domain.knobs import Settings, Value
from autotuner.domain.slo import SLO
from autotuner.forecast.service import Forecaster, ForecastSettings
from autotuner.history.records import ExperimentSummary
from autotuner.history.store import open_history
from autotuner.instruments import Instruments
from autotuner.replay import HourFigures, SimulatedTarget, Span, drive, hourly
from autotuner.resources import resource_folder

START = 1767571200.0  # chosen: Monday 2026-01-05 00:00 UTC; any fixed day does
DAY_S = 86400.0
TARGET = "simulated"
MIX = ClassMix((TokenClass(0.1, (1000, 2000), (16, 96)), TokenClass(0.9, (64, 256), (16, 96))))


@dataclass(frozen=True)
class ReplayOptions:
    """What is replayed; `start` are knobs that differ from the first level of the policy's."""

    policy: str
    length_s: float
    rate_rps: float
    swing: float
    seed: int
    cycle_s: float
    start: Mapping[str, Value]
    prophet: bool
    history: Path | None


@dataclass(frozen=True)
class ReplayReport:
    """Hour by hour with tuning and without, and every experiment."""

    slo: SLO
    start: Settings
    end: Settings
    tuned: list[HourFigures]
    left_alone: list[HourFigures]
    experiments: list[ExperimentSummary]


def run_replay(options: ReplayOptions, console: Console) -> ReplayReport:
    """The whole replay, with a progress bar on `console`."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    policy = load_policy(options.policy, resource_folder("policies"))
    start = starting_settings(policy, options.start)
    slo = policy.slo.to_domain()
    span = Span(START, options.length_s, options.cycle_s, policy.forecast.refit_s)
    with tempfile.TemporaryDirectory() as scratch, Progress(console=console) as progress:
        history = open_history(f"sqlite:///{options.history or Path(scratch) / 'history.sqlite3'}")
        target = _target(options, policy, start)
        forecaster = Forecaster(
            ForecastSettings(step_s=policy.forecast.bucket_s, use_prophet=options.prophet)
        )
        ends = Ends(target, target, stale_s=math.inf)
        daemon = assemble(TARGET, "simulated:", policy, history, Instruments(), ends, forecaster)
        task = progress.add_task("replaying", total=span.length_s)
        drive(daemon, target, slo, span, lambda now: progress.update(task, completed=now - START))
        found = history.experiments(target=TARGET, limit=10_000)
        live = target.read_settings().settings
        history.close()
    idle = _target(options, policy, start)
    idle.advance(START + span.length_s, slo)
    return ReplayReport(
        slo=slo,
        start=start,
        end=policy.space().restrict(live),
        tuned=hourly(target.seen, span),
        left_alone=hourly(idle.seen, span),
        experiments=found[::-1],
    )


def starting_settings(policy: Policy, changes: Mapping[str, Value]) -> Settings:
    """The first level of each knob with `changes`; raises ConfigError for a knob without level."""
    space = policy.space()
    known = {name: value for name, value in changes.items() if name in space.names}
    start = Settings({**{knob.name: knob.levels[0] for knob in space}, **known})
    for knob in space:
        if start[knob.name] not in knob.levels:
            raise ConfigError(
                f"{knob.name}={start[knob.name]!r}: not a level of policy {policy.name}; "
                f"give one of {list(knob.levels)}"
            )
    return start


def _target(options: ReplayOptions, policy: Policy, start: Settings) -> SimulatedTarget:
    def rate(at: float) -> float:
        phase = 2 * math.pi * (at - START) / DAY_S
        return options.rate_rps * (1 - options.swing * math.cos(phase))

    system = SimulatedSystem(CPU_PRIOR, rate, MIX, start, seed=options.seed, start_s=START)
    return SimulatedTarget(system, policy.space(), start)
