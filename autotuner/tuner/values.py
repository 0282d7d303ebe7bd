"""What the brain is told, what it remembers and what it answers with: frozen values."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from autotuner.abtest.planning import Noise
from autotuner.domain.declaration import Declaration
from autotuner.domain.error_budget import ErrorBudget
from autotuner.domain.experiment import Experiment, Plan
from autotuner.domain.feasibility import Infeasible
from autotuner.domain.goals import Goal
from autotuner.domain.knobs import KnobSpace, Settings, Value
from autotuner.domain.mode import Mode
from autotuner.domain.ports import LiveSettings, PastTrial, Proposal, Workload
from autotuner.domain.slo import SLO
from autotuner.domain.telemetry import (
    Exposure,
    ExposureBatch,
    FeedbackScore,
    ProbeReading,
    Reading,
    StepRecord,
    Window,
)


class Action(StrEnum):
    HOLD = "HOLD"
    START = "START"
    CONTINUE = "CONTINUE"
    PROMOTE = "PROMOTE"
    ROLLBACK = "ROLLBACK"


class Fdr(StrEnum):
    """How the false discoveries of many tests are bounded: each test alone, or their rate."""

    NONE = "none"
    E_LOND = "e-lond"


@dataclass(frozen=True)
class Rules:
    """What the policy fixes for the brain. Times in seconds, attainment in 0..1.

    `plan_from_noise`: slots, washout and noise of a test follow from the incumbent's traffic of
    the last `noise_s`. `confirm`: an accepted candidate must win a second test before it stays.
    `plan`: of a test of something that serves better; `saving`: of one that takes less, where the
    goal is a saving. `replicas`: engines that share the target's load. `restart_max_s`: how long a
    target may take to restart into other settings before that counts as an outage.
    The workload has drifted when its rate or lengths were `drift_factor` times as large or small
    for `drift_hold_s`; `retest`: the incumbent is then tested against the settings before it.
    """

    target: str
    space: KnobSpace
    slo: SLO
    plan: Plan
    goal: Goal = field(default_factory=Goal)
    min_requests: int = 30
    pause_s: float = 60.0
    retry_s: float = 300.0
    plan_from_noise: bool = False
    noise_s: float = 900.0
    fdr: Fdr = Fdr.NONE
    confirm: bool = False
    quarantine_s: float = 86400.0
    drift_factor: float = math.inf
    drift_hold_s: float = 900.0
    retest: bool = False
    saving: Plan | None = None
    replicas: int = 1
    restart_max_s: float = 900.0

    @property
    def main_plan(self) -> Plan:
        """The plan that tests have where the goal's attainment is met."""
        return self.plan if self.saving is None else self.saving


@dataclass(frozen=True)
class Traffic:
    """The requests that recently lived under the incumbent alone."""

    requests: int
    attainment: float  # NaN without requests
    workload: Workload


@dataclass(frozen=True)
class Observation:
    """One cycle's view of the world, loaded once and never changed.

    `problem` says why the data can't be trusted (scrape failed, stale, invalid); then `live` and
    `exposures` may be missing. `probes`, `feedback` and `readings` go back to the running
    experiment's first slot; `recent` goes back `Rules.noise_s`, whatever settings were met, and
    is needed only between tests. `declared` is the oldest test that a person asked for. `overload`
    says why the load that is forecast exceeds what the settings in force can serve. `steady_for_s`:
    for how long the forecast leaves the load as it is; inf where none says otherwise. `kv_tokens`:
    of KV that one replica holds, inf where unknown. `prefix_share`: of prompt tokens found cached.
    `back`: the values of some knobs that a rollback returns to. `ended`: all that the exposure log
    told since the cycle before. `budget`: None where none is kept, or nothing is known of it yet.
    """

    live: LiveSettings | None
    batch: ExposureBatch | None = None  # since the running experiment's first slot
    traffic: Traffic | None = None
    window: Window | None = None
    steps: tuple[StepRecord, ...] = ()
    forecast_rate_rps: float | None = None
    problem: str | None = None
    wish: str | None = None  # what a person asked for: rollback
    probes: tuple[ProbeReading, ...] = ()
    feedback: tuple[FeedbackScore, ...] = ()
    readings: tuple[Reading, ...] = ()
    recent: tuple[Exposure, ...] = ()
    declared: Declaration | None = None
    overload: str | None = None
    steady_for_s: float = math.inf
    kv_tokens: float = math.inf
    prefix_share: float = 0.0
    back: Mapping[str, Value] = field(default_factory=dict)
    ended: ExposureBatch | None = None
    budget: ErrorBudget | None = None


@dataclass(frozen=True)
class WorkloadMark:
    """A workload in a few figures: requests per second, and quantiles of tokens per request."""

    rate_rps: float
    prompt_p50: float
    prompt_p90: float
    output_p50: float
    output_p90: float


@dataclass(frozen=True)
class Restart:
    """A change by restart that was sent, and whose outcome is not known yet.

    `since`: when it was sent (s, the daemon's clock). `boot_id`, `generation`: what ran then.
    `seen`: whether the target was seen to be at it. `tries`: how often it was sent in a row.
    """

    settings: Settings
    since: float
    boot_id: str
    generation: int
    seen: bool = False
    tries: int = 1


@dataclass(frozen=True)
class TunerState:
    """What the brain remembers between cycles. Times on the daemon's clock.

    `intended` is what was last applied, with generation and boot: what differs from it is drift.
    `unconfirmed` was sent and its outcome is unknown; `unsettled`: the incumbent may not be live.
    `quarantined`: until when (inf: for good) the settings of a digest are not tried.
    `to_confirm`: an accepted experiment whose candidate must win once more. `tests`, `accepted`:
    counts over the target's history. `noise`: what was last measured. `tuned_for`: the workload at
    which the incumbent was accepted; `moved_since`: since when it has been another one; `stale`:
    how many tests of `past` had begun before that.
    `previous`: the incumbent before this one; `retest`: why it is to be tried again. `rebuild_s`:
    what the last test of a knob that is not live saw a change take; NaN where none was seen.
    `infeasible`: settings whose engine failed, which bars more than themselves. `restart`: what the
    target may be restarting into. `faults`: ids of those of the target that were looked at.
    """

    incumbent: Settings
    intended: LiveSettings | None = None
    mode: Mode = Mode.ACTIVE
    experiment: Experiment | None = None
    idle_until: float = 0.0
    past: tuple[PastTrial, ...] = ()
    quarantined: Mapping[str, float] = field(default_factory=dict)
    unconfirmed: Settings | None = None
    unsettled: bool = False
    down_since: float | None = None
    to_confirm: Experiment | None = None
    tests: int = 0
    accepted: int = 0
    noise: Noise | None = None
    tuned_for: WorkloadMark | None = None
    moved_since: float | None = None
    stale: int = 0
    evidence_since: float = 0.0  # tests that ended before it say nothing of today's workload
    previous: Settings | None = None
    retest: str = ""
    rebuild_s: float = math.nan
    infeasible: tuple[Infeasible, ...] = ()
    restart: Restart | None = None
    faults: frozenset[str] = frozenset()

    def without(self, bad: Infeasible) -> TunerState:
        """The state in which `bad` is not tried again, for good."""
        if any(known.settings == bad.settings for known in self.infeasible):
            return self
        held = {**self.quarantined, bad.settings.digest: math.inf}
        return replace(self, quarantined=held, infeasible=(*self.infeasible, bad))

    def lifted(self, digests: frozenset[str]) -> TunerState:
        """The state in which settings with these digests may be tried again."""
        if not digests:
            return self
        held = {digest: end for digest, end in self.quarantined.items() if digest not in digests}
        bad = tuple(known for known in self.infeasible if known.settings.digest not in digests)
        return replace(self, quarantined=held, infeasible=bad)

    def banned(self, now: float) -> frozenset[str]:
        """The digests that are not to be tried at `now`."""
        return frozenset(digest for digest, until in self.quarantined.items() if until > now)


@dataclass(frozen=True)
class Decision:
    """What to do and why. The daemon records it, then applies `apply`, then keeps `state`.

    `lanes`: the settings of each lane where they differ; `apply` is lane 0's then. `opens_slot`:
    applying starts a slot of the experiment. `concluded`: the experiment that ended here.
    `declared`: the request for a test that is answered here, by a START or a refusal. `alert`:
    something that a person should know at once.
    """

    action: Action
    reason: str
    state: TunerState
    apply: Settings | None = None
    opens_slot: bool = False
    concluded: Experiment | None = None
    proposal: Proposal | None = None
    alert: str | None = None
    lanes: tuple[Settings, ...] | None = None
    declared: int | None = None
