"""What a file must keep to, and when two examples are near-duplicates."""

from __future__ import annotations

from dataclasses import dataclass

from autotuner.finetune.errors import FineTuningError


@dataclass(frozen=True)
class IntakeRules:
    """Limits are chosen, save `exact_up_to`; raises FineTuningError for one that makes no sense.

    `near_duplicate`: the cosine similarity above which the later of two examples is left out.
    `minimum_score`: examples with a lower score are left out; those without one are kept.
    `checksum_required`: a file that comes without a checksum is refused.
    `most_broken_share`: of a file's examples, empty or not Unicode; with more it is refused.
    `exact_up_to`: a new example is compared with each one that is kept, until there are more than
    this; then with those that an index finds (extra `learn`). Measured: at 40,000 a comparison
    with all took 0.17 ms of one core, search and insertion 0.45 ms, so both are level at 100,000.
    """

    near_duplicate: float = 0.85
    minimum_score: float = 0.0
    checksum_required: bool = False
    most_line_bytes: int = 256 * 1024
    most_file_bytes: int = 4 * 2**30
    most_broken_share: float = 0.5
    exact_up_to: int = 100_000

    def __post_init__(self) -> None:
        for name in ("near_duplicate", "minimum_score", "most_broken_share"):
            value = getattr(self, name)
            if not 0 <= value <= 1:
                raise FineTuningError(f"{name}={value}: give a number from 0 to 1")
        for name in ("most_line_bytes", "most_file_bytes"):
            if getattr(self, name) < 1:
                raise FineTuningError(f"{name}={getattr(self, name)}: give 1 or more bytes")
