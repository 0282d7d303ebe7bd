"""How an engine serves once its knobs are set: what both simulators run on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from autotuner.agent.stepmodel import Bools, Floats, Ints, StepModel, StepTable


@dataclass(frozen=True)
class Serving:
    """One engine as plain numbers; the fields are those of ServingTable."""

    model: StepModel
    kv_tokens: float = float("inf")
    optimistic: bool = False
    window: float = float("inf")
    replicas: int = 1
    prefix_share: float = 0.0
    patience_s: float = float("inf")


@dataclass(frozen=True)
class ServingTable:
    """Engines side by side: arrays of shape [environment].

    `steps`: of ONE replica. `kv_tokens`: tokens of KV that one replica holds, inf for no limit.
    `optimistic` (memory_efficient): a request is admitted as soon as its prompt fits, and when
    memory runs out the last admitted is preempted and computed again; otherwise it is admitted
    only when its whole length is sure to fit. `window`: tokens of context that a query reads at
    most, inf for all. `replicas`: engines side by side, each under the same settings, that share
    the requests. `prefix_share`: of the prompt tokens that the prefix cache already holds, 0..1.
    `patience_s`: after it a client whose request has not ended leaves, inf for never.
    """

    steps: StepTable
    kv_tokens: Floats
    optimistic: Bools
    window: Floats
    replicas: Ints
    prefix_share: Floats
    patience_s: Floats

    @classmethod
    def plain(cls, steps: StepTable) -> ServingTable:
        """One replica with memory for everything, full attention, no prefix cache."""
        n = len(steps.t0_s)
        endless = np.full(n, np.inf)
        return cls(
            steps,
            endless,
            np.zeros(n, np.bool_),
            endless,
            np.ones(n, np.int64),
            np.zeros(n),
            endless,
        )

    def take(self, rows: Ints) -> ServingTable:
        """The given rows; a row may be taken many times."""
        rest = (getattr(self, f.name)[rows] for f in fields(ServingTable) if f.name != "steps")
        return ServingTable(self.steps.take(rows), *rest)

    @classmethod
    def of(cls, servings: Sequence[Serving]) -> ServingTable:
        def column(name: str, kind: type) -> Any:
            return np.array([getattr(s, name) for s in servings], kind)

        return cls(
            StepTable.of([s.model for s in servings]),
            column("kv_tokens", np.float64),
            column("optimistic", np.bool_),
            column("window", np.float64),
            column("replicas", np.int64),
            column("prefix_share", np.float64),
            column("patience_s", np.float64),
        )

    def row(self, row: int) -> Serving:
        return Serving(
            self.steps.model(row),
            float(self.kv_tokens[row]),
            bool(self.optimistic[row]),
            float(self.window[row]),
            int(self.replicas[row]),
            float(self.prefix_share[row]),
            float(self.patience_s[row]),
        )
