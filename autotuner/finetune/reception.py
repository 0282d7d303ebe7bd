"""A file of examples that somebody hands in: taken in or refused, as the history records it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from autotuner.config import LearnConfig
from autotuner.domain.fine_tuning import Intake
from autotuner.finetune.errors import RefusedFileError
from autotuner.finetune.intake.rules import IntakeRules
from autotuner.finetune.intake.taking import take_in
from autotuner.finetune.store import ExampleStore
from autotuner.finetune.versions import DatasetVersion


@dataclass(frozen=True)
class Received:
    """`again`: the store had this file already, so that nothing was done."""

    intake: Intake
    again: bool = False


def rules_of(learn: LearnConfig) -> IntakeRules:
    return IntakeRules(
        near_duplicate=learn.near_duplicate,
        minimum_score=learn.minimum_score,
        checksum_required=learn.checksum_required,
    )


def receive(
    file: Path,
    store: ExampleStore,
    rules: IntakeRules,
    target: str,
    clock: Callable[[], float],
    checksum: str | None = None,
) -> Received:
    """What became of `file`; a refusal stands in `intake.refused`. Raises StoreError."""
    began, versions = clock(), len(store.versions())
    try:
        made = take_in(file, store, rules, checksum)
    except RefusedFileError as problem:
        refusal = Intake(
            target, began, file.name, "", seconds=clock() - began, refused=str(problem)
        )
        return Received(refusal)
    return Received(_intake(made, target, began, clock() - began), made.number <= versions)


def _intake(made: DatasetVersion, target: str, at: float, seconds: float) -> Intake:
    return Intake(
        target=target,
        at=at,
        source=made.source,
        sha256=made.sha256,
        version=made.number,
        read=made.read,
        kept=made.kept,
        exact_duplicates=made.exact_duplicates,
        near_duplicates=made.near_duplicates,
        dropped=dict(made.dropped),
        seconds=seconds,
    )
