"""How an engine serves once its knobs are set: what both simulators run on."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from autotuner.agent.stepmodel import Bools, Floats, Ints, StepTable


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
