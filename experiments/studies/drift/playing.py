"""One arm lives through one scenario: the daemon on a virtual clock, or settings that stay."""

from __future__ import annotations

import logging
import math
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import structlog

from autotuner.agent.replay_system import EngineRules, SimulatedSystem
from autotuner.agent.serving import ServingTable
from autotuner.bootstrap import Ends, assemble
from autotuner.config import Policy
from autotuner.domain.experiment import Verdict
from autotuner.domain.knobs import Settings
from autotuner.forecast.service import Forecaster, ForecastSettings
from autotuner.history.records import ExperimentSummary
from autotuner.history.store import open_history
from autotuner.instruments import Instruments
from autotuner.replay import SimulatedTarget, Span, drive
from experiments.studies.drift.scenarios import START, Scenario
from experiments.studies.drift.truth import CROWDED, MAX_WAITING, SERVING

TARGET = "simulated"
CYCLE_S = 10.0


@dataclass(frozen=True)
class Trial:
    """One experiment of the daemon; times on the virtual clock."""

    started_at: float
    ended_at: float
    verdict: str
    proposer: str
    treatment: Settings

    @property
    def promoted(self) -> bool:
        return self.verdict == Verdict.ACCEPTED


@dataclass(frozen=True)
class Played:
    """What came of it: whether each request (by its arrival) met the SLO, and every test.

    A request that never ended is not among them. Requests are the same for all arms of a seed.
    """

    met: dict[float, bool]
    tests: tuple[Trial, ...]


def tuned(scenario: Scenario, policy: Policy, start: Settings, seed: int) -> Played:
    """The daemon at work, begun with `start`."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    target = _target(scenario, policy, start, seed)
    span = Span(START, scenario.end - START, CYCLE_S, policy.forecast.refit_s)
    with tempfile.TemporaryDirectory() as scratch:
        history = open_history(f"sqlite:///{Path(scratch) / 'history.sqlite3'}")
        forecaster = Forecaster(
            ForecastSettings(step_s=policy.forecast.bucket_s, use_prophet=False)
        )
        ends = Ends(target, target, stale_s=math.inf)
        daemon = assemble(TARGET, "simulated:", policy, history, Instruments(), ends, forecaster)
        drive(daemon, target, policy.slo.to_domain(), span)
        found = history.experiments(target=TARGET, limit=10_000)[::-1]
        history.close()
    return Played(dict(target.seen), tuple(_test(summary, scenario.end) for summary in found))


def switched(scenario: Scenario, policy: Policy, settings: Sequence[Settings], seed: int) -> Played:
    """Each phase under its own settings, at once; or one settings all along."""
    target = _target(scenario, policy, settings[0], seed)
    for phase, wanted in zip(scenario.phases, settings, strict=True):
        live = target.read_settings()
        if live.settings != wanted:
            target.apply(wanted, live, "the load changed")
        at = phase.start
        while at < phase.end:
            at = min(at + 600.0, phase.end)
            target.advance(at, policy.slo.to_domain())
    return Played(dict(target.seen), ())


def _target(scenario: Scenario, policy: Policy, start: Settings, seed: int) -> SimulatedTarget:
    table = ServingTable.of([SERVING])
    system = SimulatedSystem(
        EngineRules(lambda _: table, rebuild_knobs=frozenset(), crowding=CROWDED),
        scenario.rate,
        scenario.mixes,
        start,
        seed=seed,
        start_s=START,
        max_waiting=MAX_WAITING,
    )
    return SimulatedTarget(system, policy.space(), start)


def _test(summary: ExperimentSummary, end: float) -> Trial:
    return Trial(
        summary.started_at,
        end if summary.ended_at is None else summary.ended_at,
        str(summary.verdict),
        summary.proposer,
        summary.treatment,
    )
