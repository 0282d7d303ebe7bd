"""The worker's JSON bodies, read strictly into the domain's values. No HTTP here."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from autotuner.domain.feasibility import EngineFault, fault_of
from autotuner.domain.knobs import Value
from autotuner.domain.ports import LiveSettings
from autotuner.domain.telemetry import (
    Exposure,
    ExposureBatch,
    FeedbackScore,
    Outcome,
    ProbeReading,
    StepRecord,
)
from autotuner.targets.capabilities import (
    Capabilities,
    Capability,
    Choices,
    FloatRange,
    IntRange,
)


class _Body(BaseModel):
    # Unknown fields are let through: a newer worker may tell more.
    model_config = ConfigDict(strict=True, frozen=True, extra="ignore", allow_inf_nan=False)


class _IntCapability(_Body):
    type: Literal["int"]
    min: int
    max: int
    live: bool = True
    changes_answers: bool = False

    def to_domain(self) -> Capability:
        return Capability(IntRange(self.min, self.max), self.live, self.changes_answers)


class _FloatCapability(_Body):
    type: Literal["float"]
    min: float
    max: float
    live: bool = True
    changes_answers: bool = False

    def to_domain(self) -> Capability:
        return Capability(FloatRange(self.min, self.max), self.live, self.changes_answers)


class _ChoiceCapability(_Body):
    type: Literal["choice"]
    values: list[Value]
    live: bool = True
    changes_answers: bool = False

    def to_domain(self) -> Capability:
        return Capability(Choices(tuple(self.values)), self.live, self.changes_answers)


class _BoolCapability(_Body):
    type: Literal["bool"]
    live: bool = True
    changes_answers: bool = False

    def to_domain(self) -> Capability:
        return Capability(Choices((False, True)), self.live, self.changes_answers)


_AnyCapability = Annotated[
    _IntCapability | _FloatCapability | _ChoiceCapability | _BoolCapability,
    Field(discriminator="type"),
]


class _ServerBody(_Body):
    kind: str
    version: str = ""


class _FaultBody(_Body):
    seq: int = 0
    at: float
    fault: str
    message: str = ""
    settings: dict[str, Value] = Field(default_factory=dict)

    def to_domain(self) -> EngineFault:
        name = f"{self.seq}@{self.at!r}"
        return EngineFault(self.at, fault_of(self.fault), self.message, self.settings, name)


class SettingsBody(_Body):
    """`GET` and `PUT /admin/settings`. What has a default is told by some targets only."""

    boot_id: str = Field(min_length=1)
    generation: int = Field(ge=1)
    applied_at: float
    now: float
    settings: dict[str, Value] = Field(min_length=1)
    capabilities: dict[str, _AnyCapability] = Field(default_factory=dict)
    rebuilding: dict[str, Value] | None = None
    restart_s: float | None = Field(default=None, ge=0)
    server: _ServerBody | None = None
    faults: list[_FaultBody] = Field(default_factory=list)

    def live(self) -> LiveSettings:
        return LiveSettings(
            self.settings,
            self.generation,
            self.boot_id,
            self.applied_at,
            self.now,
            rebuilding=self.rebuilding,
            restart_s=math.nan if self.restart_s is None else self.restart_s,
            faults=tuple(fault.to_domain() for fault in self.faults),
            server="" if self.server is None else self.server.kind,
        )

    def offered(self) -> Capabilities:
        return {name: told.to_domain() for name, told in self.capabilities.items()}


class _ExposureBody(_Body):
    seq: int = Field(ge=1)
    id: str
    generation_start: int = Field(ge=1)
    generation_end: int = Field(ge=1)
    arrival: float
    queue_s: float | None
    ttft_s: float | None
    tpot_s: float | None
    gap_max_s: float | None
    e2el_s: float
    prompt_tokens: int = Field(ge=0)
    output_tokens: int = Field(ge=0)
    outcome: Literal["stop", "length", "abort", "error", "rejected"]

    def to_domain(self) -> Exposure:
        fields = self.model_dump(exclude={"outcome"})
        return Exposure(**fields, outcome=Outcome(self.outcome))


class _RingBody(_Body):
    boot_id: str = Field(min_length=1)
    now: float
    next: int = Field(ge=0)
    overrun: bool


class ExposuresBody(_RingBody):
    """`GET /admin/exposures`."""

    in_flight: dict[str, Annotated[int, Field(ge=0)]]
    exposures: list[_ExposureBody]

    def to_domain(self) -> ExposureBatch:
        """The batch. Raises ValueError where a key of `in_flight` is not a generation."""
        return ExposureBatch(
            self.boot_id,
            self.now,
            self.next,
            self.overrun,
            {int(generation): count for generation, count in self.in_flight.items()},
            tuple(one.to_domain() for one in self.exposures),
        )


class _StepBody(_Body):
    at: float
    step_s: float = Field(ge=0)
    decode_seqs: int = Field(ge=0)
    prefill_tokens: int = Field(ge=0)
    context_tokens: int = Field(ge=0)
    prefill_pairs: int = Field(default=0, ge=0)

    def to_domain(self) -> StepRecord:
        return StepRecord(**self.model_dump())


class StepsBody(_RingBody):
    """`GET /admin/steps`."""

    steps: list[_StepBody]

    def to_domain(self) -> tuple[StepRecord, ...]:
        return tuple(one.to_domain() for one in self.steps)


class ProbeBody(_Body):
    """`POST /admin/probe`; shares in 0..1."""

    generation: int = Field(ge=1)
    agreement: float = Field(ge=0, le=1)
    accuracy: float | None = Field(default=None, ge=0, le=1)

    def to_domain(self, at: float) -> ProbeReading:
        """The reading, of lane 0, made `at` (target's clock)."""
        return ProbeReading(at, self.generation, 0, self.agreement, self.accuracy)


class _FeedbackBody(_Body):
    id: str = Field(min_length=1)
    score: float = Field(ge=0, le=1)
    at: float

    def to_domain(self) -> FeedbackScore:
        return FeedbackScore(self.at, self.id, self.score)


class FeedbackBody(_RingBody):
    """`GET /admin/feedback`."""

    feedback: list[_FeedbackBody]

    def to_domain(self) -> tuple[FeedbackScore, ...]:
        return tuple(one.to_domain() for one in self.feedback)
