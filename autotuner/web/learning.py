"""What was learnt from examples, as page, API and `autotuner learn` show it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from autotuner.domain.fine_tuning import FineTune, Intake
from autotuner.finetune.promotion import weights_in_force
from autotuner.web.lines import finite
from autotuner.web.sources import Sources


@dataclass(frozen=True)
class FineTuneView:
    """One fine-tune: what it is at and why, and its figures, None where they are not known.

    Losses in nats per answer token, on held-out examples: `new` of the topics learnt, `old` of
    those before. `agreement`: share of tokens that were the model's most likely. `request`: of the
    live test, which became `experiment`. Times in epoch s, `seconds` of training.
    """

    name: str
    stage: str
    reason: str
    parent: str
    versions: tuple[int, ...]
    examples: int
    replayed: int
    planned_at: float
    changed_at: float
    attempts: int
    seconds: float | None
    update_s: float | None
    new_before: float | None
    new_after: float | None
    old_before: float | None
    old_after: float | None
    forgetting: float | None
    agreement_before: float | None
    agreement_after: float | None
    pairing: float | None
    request: int | None
    experiment: str | None


@dataclass(frozen=True)
class IntakeView:
    """One file of examples: how many were read and kept, and why the others were left out."""

    at: float
    source: str
    sha256: str
    version: int | None
    read: int
    kept: int
    exact_duplicates: int
    near_duplicates: int
    dropped: Mapping[str, int]
    seconds: float | None
    refused: str | None


@dataclass(frozen=True)
class LearningView:
    """Fine-tunes and files of a target, newest first, and the name of the weights in force."""

    target: str
    weights: str
    fine_tunes: tuple[FineTuneView, ...]
    intakes: tuple[IntakeView, ...]

    @property
    def begun(self) -> bool:
        return bool(self.fine_tunes or self.intakes)


def learning(sources: Sources, name: str, *, limit: int = 20) -> LearningView:
    """What the target's model learnt, at most `limit` of each; raises UnknownNameError."""
    sources.expect(name)
    return LearningView(
        target=name,
        weights=weights_in_force(sources.history, name),
        fine_tunes=tuple(map(fine_tune_view, sources.history.fine_tunes(name, limit))),
        intakes=tuple(map(_intake_view, sources.history.intakes(name, limit))),
    )


def fine_tune_view(tune: FineTune) -> FineTuneView:
    scores = tune.scores
    return FineTuneView(
        name=tune.name,
        stage=tune.stage.value,
        reason=tune.reason,
        parent=tune.parent,
        versions=tune.versions,
        examples=tune.examples,
        replayed=tune.replayed,
        planned_at=tune.planned_at,
        changed_at=tune.changed_at,
        attempts=tune.attempts,
        seconds=finite(tune.seconds),
        update_s=finite(tune.update_s),
        new_before=finite(scores.new_before),
        new_after=finite(scores.new_after),
        old_before=finite(scores.old_before),
        old_after=finite(scores.old_after),
        forgetting=finite(scores.forgetting),
        agreement_before=finite(scores.agreement_before),
        agreement_after=finite(scores.agreement_after),
        pairing=finite(scores.pairing),
        request=tune.request_id,
        experiment=tune.experiment_id,
    )


def _intake_view(one: Intake) -> IntakeView:
    return IntakeView(
        at=one.at,
        source=one.source,
        sha256=one.sha256,
        version=one.version,
        read=one.read,
        kept=one.kept,
        exact_duplicates=one.exact_duplicates,
        near_duplicates=one.near_duplicates,
        dropped=dict(one.dropped),
        seconds=finite(one.seconds),
        refused=one.refused or None,
    )
