"""One alert rule of a policy, and whether the rules of one policy fit together."""

from __future__ import annotations

import graphlib
from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field, model_validator

from autotuner.config.model import Model

# Alerts of the daemon's own that a rule may inhibit; no rule may inhibit the others.
_INHIBITABLE = ("AnomalyInMetrics", "ForecastExceedsCapacity")
_KINDS = ("above", "below", "times_p99", "down")


class AlertRuleConfig(Model):
    """A rule over one series of the target. A series that the target does not have says nothing."""

    name: str = Field(min_length=1)
    tier: Literal["hardware", "framework", "business"] = "framework"
    series: str = Field(min_length=1)
    above: float | None = Field(None, allow_inf_nan=False)
    below: float | None = Field(None, allow_inf_nan=False)
    times_p99: float | None = Field(
        None, gt=0, allow_inf_nan=False, description="above so many times the P99 of its last day"
    )
    down: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="below the median of its last day by more than this share, and by twice as "
        "much as the lowest 5% of that day",
    )
    clear: float | None = Field(
        None,
        allow_inf_nan=False,
        description="with above or below: the level at which it is well again; none: 5% past it",
    )
    for_s: Annotated[float, Field(ge=0)] = 60.0
    resolve_for_s: Annotated[float, Field(ge=0)] = 60.0
    severity: Literal["info", "warning", "critical"] = "warning"
    inhibits: tuple[str, ...] = Field(
        (), description="alerts of the same target that are not told while this one fires"
    )

    @property
    def limit(self) -> tuple[str, float]:
        """The kind of the limit and its figure."""
        (given,) = self._given()
        return given

    def _given(self) -> list[tuple[str, float]]:
        return [(kind, value) for kind in _KINDS if (value := getattr(self, kind)) is not None]

    @model_validator(mode="after")
    def _one_limit(self) -> AlertRuleConfig:
        if len(self._given()) != 1:
            raise ValueError(f"rule {self.name}: give exactly one of {', '.join(_KINDS)}")
        return self

    @model_validator(mode="after")
    def _clear_on_the_good_side(self) -> AlertRuleConfig:
        if self.clear is None:
            return self
        kind, level = self.limit
        if kind not in ("above", "below"):
            raise ValueError(f"rule {self.name}: clear goes with above or below, not with {kind}")
        if (self.clear > level) if kind == "above" else (self.clear < level):
            side = "at most" if kind == "above" else "at least"
            raise ValueError(f"rule {self.name}: clear={self.clear:g} must be {side} {level:g}")
        return self


def check_together(rules: Sequence[AlertRuleConfig]) -> None:
    """Raises ValueError for names that repeat, rules that inhibit nothing, and circles.

    Two rules that inhibit each other could both fire and nobody would be told.
    """
    names = [rule.name for rule in rules]
    if len(set(names)) != len(names):
        raise ValueError(f"two rules share a name: {names}")
    for rule in rules:
        for inhibited in rule.inhibits:
            if inhibited not in (*names, *_INHIBITABLE):
                known = ", ".join((*names, *_INHIBITABLE))
                raise ValueError(f"rule {rule.name}: inhibits {inhibited!r}; give one of {known}")
    try:
        graphlib.TopologicalSorter({rule.name: rule.inhibits for rule in rules}).prepare()
    except graphlib.CycleError as problem:
        round_trip = " → ".join(problem.args[1])
        raise ValueError(f"rules inhibit each other in a circle: {round_trip}") from problem
