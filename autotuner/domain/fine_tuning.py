"""Fine-tunes and intakes as values: what a run is at, what it is worth, which stage may follow."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from autotuner.domain.errors import IllegalTransitionError

BASE = "base"  # the weights without any adapter, as the knob's value


class Stage(StrEnum):
    """What a fine-tune is at.

    PLANNED → TRAINING → EVALUATED → OFFERED → PROMOTED; it may be REFUSED from EVALUATED on, and
    FAILED until it is offered. UNDECIDED: its live test ended without telling better from worse.
    A person may offer one again that was not kept, and take a promoted one back.
    """

    PLANNED = "planned"
    TRAINING = "training"
    EVALUATED = "evaluated"
    OFFERED = "offered"
    PROMOTED = "promoted"
    REFUSED = "refused"
    UNDECIDED = "undecided"
    FAILED = "failed"
    ROLLED_BACK = "rolled_back"


_LEGAL: Mapping[Stage, frozenset[Stage]] = {
    Stage.PLANNED: frozenset({Stage.TRAINING, Stage.FAILED}),
    Stage.TRAINING: frozenset({Stage.TRAINING, Stage.EVALUATED, Stage.FAILED}),
    Stage.EVALUATED: frozenset({Stage.OFFERED, Stage.REFUSED, Stage.FAILED}),
    Stage.OFFERED: frozenset({Stage.PROMOTED, Stage.REFUSED, Stage.UNDECIDED}),
    Stage.PROMOTED: frozenset({Stage.ROLLED_BACK}),
    Stage.REFUSED: frozenset({Stage.OFFERED}),
    Stage.UNDECIDED: frozenset({Stage.OFFERED}),
    Stage.FAILED: frozenset(),
    Stage.ROLLED_BACK: frozenset({Stage.OFFERED}),
}
UNFINISHED = frozenset({Stage.PLANNED, Stage.TRAINING, Stage.EVALUATED})


@dataclass(frozen=True)
class Scores:
    """How good weights are, before (those in force) and after: losses in nats per answer token.

    `new`: held-out examples of the versions that were trained on; `old`: of those before them;
    `agreement`: share of the tokens of both that were the model's most likely, 0..1, as the
    worker's probe tells it. `pairing`: by how much, at least, a new held-out answer is likelier,
    to the new weights, after its own prompt than after another one's; of the version of which that
    is the least certain. NaN where there was nothing to evaluate on.
    """

    new_before: float = math.nan
    new_after: float = math.nan
    old_before: float = math.nan
    old_after: float = math.nan
    agreement_before: float = math.nan
    agreement_after: float = math.nan
    pairing: float = math.nan

    @property
    def forgetting(self) -> float:
        """What the loss on old examples rose by (nats per token); NaN where there are none."""
        return self.old_after - self.old_before


@dataclass(frozen=True)
class FineTune:
    """One fine-tune of a target's model. Times in epoch s; `seconds` of training, pauses included.

    `name`: of the adapter, as the knob `weights` has it. `parent`: the weights in force when it was
    planned. `versions`: of the examples that are new to it. `attempts`: how often its
    training was begun. `request_id`: of the live test that was asked for, which became
    `experiment_id`. `update_s`: median time of a gradient update.
    """

    target: str
    name: str
    parent: str
    versions: tuple[int, ...]
    planned_at: float
    changed_at: float
    stage: Stage = Stage.PLANNED
    examples: int = 0
    replayed: int = 0
    attempts: int = 0
    seconds: float = math.nan
    update_s: float = math.nan
    scores: Scores = Scores()
    reason: str = ""
    request_id: int | None = None
    experiment_id: str | None = None
    id: int = 0

    def to(self, stage: Stage, at: float, reason: str = "", **changes: Any) -> FineTune:
        """The fine-tune in `stage`, with `changes`; raises IllegalTransitionError."""
        if stage not in _LEGAL[self.stage]:
            raise IllegalTransitionError(
                f"fine-tune {self.name}: {self.stage} → {stage} is not legal"
            )
        return replace(self, stage=stage, changed_at=at, reason=reason, **changes)

    @property
    def unfinished(self) -> bool:
        """Whether a run has work left to do on it."""
        return self.stage in UNFINISHED


@dataclass(frozen=True)
class Intake:
    """What became of one file of examples: a version of the store, or `refused` with the reason.

    `read`: examples in it; `kept` of them, the others by why they were left out. `seconds`: how
    long that took.
    """

    target: str
    at: float
    source: str
    sha256: str
    version: int | None = None
    read: int = 0
    kept: int = 0
    exact_duplicates: int = 0
    near_duplicates: int = 0
    dropped: Mapping[str, int] = field(default_factory=dict)
    seconds: float = math.nan
    refused: str = ""
