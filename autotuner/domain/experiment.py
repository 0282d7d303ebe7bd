"""An experiment: arms, slots, pairs, verdicts, and which phase may follow which."""

from __future__ import annotations

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
    """

    max_error_share: float = 0.05
    min_requests: int = 10
    tail_factor: float = 3.0


@dataclass(frozen=True)
class Plan:
    """How an experiment is run; fixed before its first slot.

    `prior_sd`: the scale of a pair's difference known beforehand (attainment points). `alpha`:
    1 − confidence. Slots shorter than `slot_s` are never judged.
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

    @property
    def budget_s(self) -> float:
        """The longest the test can take."""
        return 2 * self.max_pairs * (self.slot_s + self.washout_max_s)


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

    @property
    def pair(self) -> int:
        return self.index // 2


@dataclass(frozen=True)
class Pair:
    """Two neighbouring slots; `difference` is positive when the treatment was better."""

    index: int
    difference: float
    control: SlotOutcome
    treatment: SlotOutcome


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
