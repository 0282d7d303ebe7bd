"""Why a candidate was proposed: what was seen, what is expected, what was learnt nearby."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from autotuner.domain.knobs import Value


@dataclass(frozen=True)
class NearTrial:
    """A past experiment near a candidate. `effect` and its interval in the outcome's units.

    `distance`: levels between its treatment and the candidate, summed over the knobs.
    """

    experiment: str
    changes: Mapping[str, Value]
    effect: float
    low: float
    high: float
    verdict: str
    distance: int


@dataclass(frozen=True)
class Explanation:
    """The structured reason of a proposal; NaN and empty where a proposer does not predict.

    `seen`: what was looked at, named figures. `effect`, `low`, `high`: the predicted effect on the
    goal's objective (attainment points for goodput) with its 95% interval. `incumbent`,
    `candidate`: the same predicted figures for both (attainment 0..1, ttft_s, tpot_s, …).
    `method`: who chose it (policy, correction, tpe, …). `considered`: candidates compared.
    `model_note`: how well the model behind the figures is known.
    """

    seen: Mapping[str, float] = field(default_factory=dict)
    effect: float = math.nan
    low: float = math.nan
    high: float = math.nan
    incumbent: Mapping[str, float] = field(default_factory=dict)
    candidate: Mapping[str, float] = field(default_factory=dict)
    nearest: tuple[NearTrial, ...] = ()
    method: str = ""
    considered: int = 0
    model_note: str = ""
