"""What is remembered so that the agent can learn: its model's predictions beside what came, and
which agent a target uses.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from autotuner.domain.knobs import Settings


@dataclass(frozen=True)
class ModelCheck:
    """One figure as the calibrated model predicted it, and as it was measured.

    `figure`: attainment (0..1), goodput (requests/s), ttft_s, tpot_s, e2el_s, step_s (means, s) of
    `settings` under the workload of that time; or `effect`, of the experiment `experiment`.
    """

    at: float
    figure: str
    predicted: float
    measured: float
    settings: Settings | None = None
    experiment: str = ""

    @property
    def error(self) -> float:
        """Relative error of a positive figure, |log ratio| as a factor above 1, less 1.

        0.3: the two part by 30% (in either direction). NaN where one of them is not positive.
        """
        if not (self.predicted > 0 and self.measured > 0):
            return math.nan
        return math.exp(abs(math.log(self.predicted / self.measured))) - 1


@dataclass(frozen=True)
class AgentRelease:
    """From `at` on, `target` uses the agent `version`. `digest` is that of its weights.

    `path`: where the artifact lies (without suffix). `score`, `before`: of this agent and of the
    one it replaced on the same held-out systems (mean regret; lower is better), NaN where none.
    """

    at: float
    target: str
    version: str
    parent: str
    digest: str
    path: str
    reason: str
    score: float = math.nan
    before: float = math.nan
    systems: int = 0
