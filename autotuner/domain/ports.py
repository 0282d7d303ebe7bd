"""The seams: what the core asks of the world. Small Protocols, in the domain's words."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from autotuner.domain.explanation import Explanation
from autotuner.domain.feasibility import EngineFault, Infeasible, ruled_out
from autotuner.domain.goals import Goal
from autotuner.domain.knobs import KnobSpace, Settings, Value
from autotuner.domain.slo import SLO
from autotuner.domain.telemetry import (
    ExposureBatch,
    FeedbackScore,
    GoldenBlock,
    ProbeReading,
    Snapshot,
    StepRecord,
    Window,
)


@dataclass(frozen=True)
class LiveSettings:
    """What really runs on a target, read back from it.

    `rebuilding`: the settings that engines in the making will bring, None while there are none.
    `restart_s`: what such a change takes by the target's own word, NaN where it has none.
    `faults`: the engines that failed for a reason that the target tells, oldest first. `server`:
    what serves, where the target says so. Targets that tell none of these are in order.
    """

    settings: Mapping[str, Value]
    generation: int
    boot_id: str
    applied_at: float  # on the target's clock
    now: float  # the target's clock when it answered
    rebuilding: Mapping[str, Value] | None = None
    restart_s: float = math.nan
    faults: tuple[EngineFault, ...] = ()
    server: str = ""


class Target(Protocol):
    """The deployment that is tuned. Every call may raise TargetUnavailableError."""

    def read_settings(self) -> LiveSettings: ...

    def apply(self, settings: Settings, live: LiveSettings, reason: str) -> LiveSettings:
        """Apply `settings` if `live` is still what runs.

        Raises StaleGenerationError or SettingsRefusedError (nothing was applied), or
        TargetUnavailableError (the outcome is unknown: read back, never retry blindly).
        """
        ...

    def exposures(self, after: int) -> ExposureBatch: ...

    def steps(self, after: int) -> tuple[Sequence[StepRecord], int]:
        """Recent engine steps after the cursor, and the next cursor; empty where not offered."""
        ...


class LanedTarget(Target, Protocol):
    """A target of two lanes, each one replica or more, that can run two settings at once.

    `read_settings` gives lane 0's settings; its generation rises whenever any lane's settings are
    applied. Exposures say which lane served them; generations are the target's, not the lanes' own.
    """

    def apply_lanes(
        self, lanes: Sequence[Settings], live: LiveSettings, reason: str
    ) -> LiveSettings:
        """As `apply`, one settings per lane; what one lane refused leaves the whole unknown."""
        ...


class Prober(Protocol):
    """Scores golden answers on the settings in force. May take seconds; raises TargetError."""

    def probe(self, block: GoldenBlock | None = None) -> ProbeReading:
        """What those of `block` say; all of them where it is None."""
        ...


class FeedbackSource(Protocol):
    """Users' scores after a cursor: the scores and the next cursor. Raises TargetError."""

    def feedback(self, after: int) -> tuple[Sequence[FeedbackScore], int]: ...


class MetricsSource(Protocol):
    """Where numbers come from. Raises TargetUnavailableError when nothing was read."""

    def snapshot(self) -> Snapshot: ...


@dataclass(frozen=True)
class Workload:
    """What the target was asked to do of late, as the agent sees it."""

    rate_rps: float
    prompt_tokens: Sequence[int] = ()  # a sample of recent requests, with output_tokens row by row
    output_tokens: Sequence[int] = ()


@dataclass(frozen=True)
class PastTrial:
    """One finished experiment as the proposers learn from it.

    `effect` (treatment less control, positive is better) with its interval, in the units of
    `outcome` (a measure's name): points of a share, or log ratios. `low`, `high` are NaN where
    nothing is known of them.
    """

    control: Settings
    treatment: Settings
    effect: float
    verdict: str
    low: float = math.nan
    high: float = math.nan
    outcome: str = "attainment"
    id: str = ""


@dataclass(frozen=True)
class ProposalContext:
    """Everything a proposer may look at.

    `rebuild_s`: what a change of a knob that is not live was seen to take, NaN where it was not
    seen. `horizon_s`: for how long the forecast leaves the workload as it is, inf where none says
    otherwise: what a change costs has to be earned within it. `kv_tokens`: tokens of KV that one
    replica holds under the incumbent, inf where unknown. `prefix_share`: of the prompt tokens that
    the prefix cache held, 0..1. `replicas`: workers under the same settings that share the rate.
    `infeasible`: settings whose engine failed; what is certainly as bad must not be proposed.
    """

    space: KnobSpace
    incumbent: Settings
    slo: SLO
    workload: Workload
    window: Window | None
    attainment: float  # recent joint SLO attainment under the incumbent, 0..1 or NaN
    steps: Sequence[StepRecord] = ()
    forecast_rate_rps: float | None = None
    past: Sequence[PastTrial] = ()
    quarantined: frozenset[str] = field(default_factory=frozenset)  # digests never to propose
    seed: int = 0
    goal: Goal = field(default_factory=Goal)
    rebuild_s: float = math.nan
    horizon_s: float = math.inf
    kv_tokens: float = math.inf
    prefix_share: float = 0.0
    replicas: int = 1
    infeasible: Sequence[Infeasible] = ()

    def allows(self, settings: Settings) -> bool:
        """Whether nothing that happened before bars these settings."""
        if settings.digest in self.quarantined:
            return False
        return ruled_out(self.space, self.infeasible, settings) is None


@dataclass(frozen=True)
class Proposal:
    """A candidate with its reason; `predicted_effect` on the goal's objective (attainment points
    for goodput) where known.

    `explanation`: the reason as figures; None from proposers that have none.
    """

    settings: Settings
    proposer: str
    reason: str
    predicted_effect: float | None = None
    agent_version: str | None = None
    explanation: Explanation | None = None


class Proposer(Protocol):
    """Thinks of candidates. None when it has nothing better to offer, with no side effects.

    May raise ProposerBusyError: ask again in the next cycle.
    """

    def propose(self, context: ProposalContext) -> Proposal | None: ...
