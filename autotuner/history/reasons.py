"""A proposal's explanation as JSON and back: pure, no SQL.

Figures that are not finite are stored as the strings that `float` reads; what a version did not
store gets its default.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from autotuner.domain.explanation import Explanation, NearTrial
from autotuner.history.columns import jsonable

Stored = Mapping[str, Any]


def explanation_row(told: Explanation) -> dict[str, Any]:
    """What the column `explanation` of an experiment holds."""
    nearest = [{**vars(near), "changes": dict(near.changes)} for near in told.nearest]
    named = {name: dict(getattr(told, name)) for name in ("seen", "incumbent", "candidate")}
    row: dict[str, Any] = jsonable({**vars(told), **named, "nearest": nearest})
    return row


def explanation_of(stored: Stored) -> Explanation:
    return Explanation(
        seen=_figures(stored.get("seen", {})),
        effect=float(stored.get("effect", math.nan)),
        low=float(stored.get("low", math.nan)),
        high=float(stored.get("high", math.nan)),
        incumbent=_figures(stored.get("incumbent", {})),
        candidate=_figures(stored.get("candidate", {})),
        nearest=tuple(map(_near_of, stored.get("nearest", ()))),
        method=stored.get("method", ""),
        considered=int(stored.get("considered", 0)),
        model_note=stored.get("model_note", ""),
    )


def _figures(stored: Stored) -> dict[str, float]:
    return {name: float(figure) for name, figure in stored.items()}


def _near_of(stored: Stored) -> NearTrial:
    return NearTrial(
        experiment=stored["experiment"],
        changes=dict(stored["changes"]),
        effect=float(stored["effect"]),
        low=float(stored["low"]),
        high=float(stored["high"]),
        verdict=stored["verdict"],
        distance=int(stored["distance"]),
    )
