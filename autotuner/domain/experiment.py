"""An experiment: arms, slots, pairs, verdicts, and which phase may follow which."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from enum import StrEnum

from autotuner.domain.errors import IllegalTransitionError
from autotuner.domain.knobs import Settings


class Arm(StrEnum):
    CONTROL = "control"
    TREATMENT = "treatment"

    @property
    def other(self) -> Arm:
        return Arm.TREATMENT if self is Arm.CONTROL else Arm.CONTROL


class Design(StrEnum):
    """How the arms share the traffic.

    SWITCHBACK: one lane, whose slots change arms by coin inside each pair. SPLIT: two lanes
    (replicas, or groups of them) run one arm each at the same time, and swap arms inside a pair,
    so that what the machines differ by cancels.
    """

    SWITCHBACK = "switchback"
    SPLIT = "split"

    @property
    def lanes(self) -> int:
        return 2 if self is Design.SPLIT else 1


class Verdict(StrEnum):
    """How an experiment ended. Only ACCEPTED promotes the candidate."""

    ACCEPTED = "ACCEPTED"
    REJECTED = "REJECTED"
    HARMFUL = "HARMFUL"
    INCONCLUSIVE = "INCONCLUSIVE"
    ABORTED = "ABORTED"


class Phase(StrEnum):
    """PLANNED → WASHOUT ⇄ COUNTING → DRAINING (the last slot's) → CLOSED; any may close."""

    PLANNED = "planned"
    WASHOUT = "washout"
    COUNTING = "counting"
    DRAINING = "draining"
    CLOSED = "closed"


_LEGAL: dict[Phase, frozenset[Phase]] = {
    Phase.PLANNED: frozenset({Phase.WASHOUT, Phase.CLOSED}),
    Phase.WASHOUT: frozenset({Phase.COUNTING, Phase.CLOSED}),
    Phase.COUNTING: frozenset({Phase.WASHOUT, Phase.DRAINING, Phase.CLOSED}),
    Phase.DRAINING: frozenset({Phase.CLOSED, Phase.WASHOUT}),
    Phase.CLOSED: frozenset(),
}


@dataclass(frozen=True)
class HardLimits:
    """Engineering limits that end a test at once, before any statistics.

    Shares in 0..1; `tail_factor`: the treatment slot's P95 of TTFT or of the largest gap beyond
    this many times the larger of the SLO and the control's, in two treatment slots running.
    `max_temperature_c`: of the hottest device while the treatment runs. `max_out_of_memory`: events
    under the treatment that are still borne.
    """

    max_error_share: float = 0.05
    min_requests: int = 10
    tail_factor: float = 3.0
    max_temperature_c: float = math.inf
    max_out_of_memory: int = 0


@dataclass(frozen=True)
class Guardrail:
    """A measure (`domain.measures`) that must not get worse by `margin` or more.

    `margin`: in the measure's own units where it is compared by difference, a share (0.1 = 10%)
    where it is compared by ratio. `prior_sd`: the scale of a pair's difference known beforehand.
    """

    measure: str
    margin: float
    prior_sd: float = 0.1


@dataclass(frozen=True)
class Upkeep:
    """What settings take while they run: devices in use, and money an hour (NaN: not known)."""

    devices: float = 1.0
    price_per_hour: float = math.nan


@dataclass(frozen=True)
class Plan:
    """How an experiment is run; fixed before its first slot.

    `outcome`: the primary measure's name. `prior_sd`: the scale of a pair's difference known
    beforehand (in the outcome's units, log units for ratios). `alpha`: 1 − confidence.
    `covariates`: what is regressed out (`abtest.covariates` knows the names). `price_per_hour`: of
    the whole target, or of one device where `priced_per_device`; NaN where unknown. The devices
    are those that each arm's settings use. Slots shorter than `slot_s` are never judged.
    `confirms`: the id of the accepted experiment that this one repeats before it is kept.
    `restart_s`: what a change of arms takes where it takes a restart; no slot begins before that.
    `slot_restarts`: so many of these a slot lasts at least.
    `probe_items`: golden answers that each pair's probes score, the next ones in each pair; 0: all
    of them in every pair.
    `futility`: a test ends early where even the upper end of the effect's one-sided interval at
    this level (0.5..1) could not be proven in the pairs left; 0: never.
    """

    slot_s: float = 60.0
    washout_min_s: float = 5.0
    washout_max_s: float = 30.0
    cooldown_s: float = 5.0
    max_pairs: int = 30
    min_requests_per_slot: int = 10
    alpha: float = 0.05
    prior_sd: float = 0.1
    outcome: str = "attainment"
    limits: HardLimits = HardLimits()
    design: Design = Design.SWITCHBACK
    guardrails: tuple[Guardrail, ...] = ()
    covariates: tuple[str, ...] = ()
    price_per_hour: float = math.nan
    confirms: str = ""
    priced_per_device: bool = False
    control_devices: float = 1.0
    treatment_devices: float = 1.0
    restart_s: float = 0.0
    slot_restarts: float = 10.0
    probe_items: int = 0
    futility: float = 0.0

    @property
    def budget_s(self) -> float:
        """The longest the test can take."""
        return 2 * self.max_pairs * self.period_s

    @property
    def period_s(self) -> float:
        """The longest that one slot takes with all that goes before it."""
        return self.restart_s + self.washout_max_s + self.slot_s

    def upkeep(self, arm: Arm) -> Upkeep:
        """What the arm's settings take: a price by the device is that of its own devices."""
        devices = self.control_devices if arm is Arm.CONTROL else self.treatment_devices
        times = devices if self.priced_per_device else 1.0
        return Upkeep(devices, self.price_per_hour * times)


@dataclass(frozen=True)
class SlotOutcome:
    """What one slot served. Rates per second over the counted time; NaN where there is nothing.

    `requests` that are neither `good` nor `failed` missed a target; those whose clients left after
    a deadline are among them. `straddlers` lived under both arms and count for neither; those
    that had missed a deadline before the switch are counted as missed and are not among them.
    """

    requests: int
    good: int
    failed: int
    straddlers: int
    counted_s: float
    ttft_p95_s: float
    gap_p95_s: float
    e2el_mean_s: float
    prompt_tokens: int
    output_tokens: int
    e2el_p95_s: float = math.nan
    ttft_mean_s: float = math.nan
    energy_j: float = math.nan  # of the whole counted time
    quality: float = math.nan  # agreement of the probe's answers, 0..1
    feedback: float = math.nan  # mean score of users, 0..1
    feedback_count: int = 0
    out_of_memory: int = 0
    temperature_max_c: float = math.nan

    @property
    def attainment(self) -> float:
        return self.good / self.requests if self.requests else float("nan")

    @property
    def goodput_rps(self) -> float:
        return self.good / self.counted_s if self.counted_s > 0 else float("nan")

    @property
    def offered_rps(self) -> float:
        return self.requests / self.counted_s if self.counted_s > 0 else float("nan")

    @property
    def error_share(self) -> float:
        return self.failed / self.requests if self.requests else 0.0


@dataclass(frozen=True)
class Slot:
    """A stretch of time under one arm. Times on the target's clock."""

    index: int
    arm: Arm
    generation: int
    started_at: float
    counted_from: float | None = None  # end of the washout
    ended_at: float | None = None
    outcome: SlotOutcome | None = None
    excluded: str | None = None  # why it does not count
    lane: int = 0
    lanes: int = 1  # slots that run at the same time

    @property
    def period(self) -> int:
        """Which stretch of time: the slots of one period run side by side, one per lane."""
        return self.index // self.lanes

    @property
    def pair(self) -> int:
        return self.period // 2


@dataclass(frozen=True)
class Pair:
    """Two neighbouring periods; `difference` is positive when the treatment was better.

    `adjustment` is the part of the difference that the covariates explain, with coefficients from
    earlier pairs alone. Under a split, `control` and `treatment` hold both slots of the arm.
    """

    index: int
    difference: float
    control: SlotOutcome
    treatment: SlotOutcome
    adjustment: float = 0.0

    @property
    def adjusted(self) -> float:
        """What the statistics see."""
        return self.difference - self.adjustment


@dataclass(frozen=True)
class GuardrailLook:
    """What is known of a guardrail after a pair; bounds and effect signed so that + is better.

    `log_e_kept`: against "worse by the margin or more"; `log_e_broken`: against "worse by less
    than the margin". `pairs`: those in which the measure was there.
    """

    measure: str
    pairs: int
    log_e_kept: float
    log_e_broken: float
    effect: float
    low: float
    high: float


@dataclass(frozen=True)
class Look:
    """What the statistics said after a pair."""

    pairs: int
    log_e_benefit: float
    log_e_harm: float
    confidence: float  # 1 − anytime-valid p, 0..1
    effect: float
    low: float
    high: float
    guardrails: tuple[GuardrailLook, ...] = ()


@dataclass(frozen=True)
class Conclusion:
    """The verdict with what a reader needs to judge it."""

    verdict: Verdict
    reason: str
    pairs: int
    effect: float  # mean difference, in the outcome's units
    low: float
    high: float
    confidence: float


@dataclass(frozen=True)
class Experiment:
    """One A/B test of a candidate; evolves only by returning a new value."""

    id: str
    target: str
    control: Settings
    treatment: Settings
    plan: Plan
    seed: int
    started_at: float
    proposer: str = ""
    rationale: str = ""
    phase: Phase = Phase.PLANNED
    slots: tuple[Slot, ...] = ()
    pairs: tuple[Pair, ...] = ()
    looks: tuple[Look, ...] = ()
    conclusion: Conclusion | None = field(default=None)

    @property
    def running(self) -> bool:
        return self.phase is not Phase.CLOSED

    @property
    def current_slot(self) -> Slot | None:
        return self.slots[-1] if self.slots else None

    @property
    def current_period(self) -> tuple[Slot, ...]:
        """The slots of the last period, one per lane."""
        last = self.slots[-1].period if self.slots else -1
        return tuple(slot for slot in self.slots[-2:] if slot.period == last)

    def settings_of(self, arm: Arm) -> Settings:
        return self.control if arm is Arm.CONTROL else self.treatment

    def to(self, phase: Phase, **changes: object) -> Experiment:
        """The experiment in `phase`, with `changes`; raises IllegalTransitionError."""
        if phase not in _LEGAL[self.phase]:
            raise IllegalTransitionError(
                f"experiment {self.id}: {self.phase} → {phase} is not legal"
            )
        return replace(self, phase=phase, **changes)  # type: ignore[arg-type]

    def closed(self, conclusion: Conclusion) -> Experiment:
        return self.to(Phase.CLOSED, conclusion=conclusion)

    def with_slot(self, slot: Slot) -> Experiment:
        """The experiment with `slot` put at its index (replaced or appended)."""
        return replace(self, slots=(*self.slots[: slot.index], slot, *self.slots[slot.index + 1 :]))
