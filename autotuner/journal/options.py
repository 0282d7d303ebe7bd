"""What a journal is told when it is made, and what it tells of people's wishes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from autotuner.config import ExperimentConfig
from autotuner.domain.knobs import Value
from autotuner.domain.mode import Mode


@dataclass(frozen=True)
class Wishes:
    """What people asked since the last cycle that could be recorded.

    `away_s`: for how long the history had been away until now (s). `lifted`: the digests of
    settings that may be tried again. `back`: values to which a rollback returns some knobs.
    """

    mode: Mode | None = None
    wish: str | None = None
    away_s: float = 0.0
    lifted: frozenset[str] = frozenset()
    back: Mapping[str, Value] = field(default_factory=dict)


@dataclass(frozen=True)
class JournalOptions:
    """`daemon_id` tells several daemons apart; a harmful candidate rests `quarantine_s`.

    `pause_s`: the rest after an experiment, which outlives a restart. `experiment`: the policy's,
    on which declared tests are based, for a target of so many `replicas`.
    """

    daemon_id: str
    target: str
    url: str
    quarantine_s: float
    pause_s: float
    experiment: ExperimentConfig = field(default_factory=ExperimentConfig)
    replicas: int = 1
