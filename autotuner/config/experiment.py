"""How A/B tests are run: the part of a policy that becomes a plan."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from autotuner.config.model import Model, Seconds, Share, parse
from autotuner.domain.errors import ConfigError
from autotuner.domain.experiment import Design, Guardrail, HardLimits, Plan
from autotuner.domain.measures import measure

Covariate = Literal["offered_load", "prompt_tokens", "output_tokens"]


class GuardrailConfig(Model):
    """A measure that must not get worse by the margin."""

    measure: str
    margin: Annotated[float, Field(gt=0)] = Field(
        description="units of a share (0.02 = 2 points), or a share of the value (0.1 = 10%)"
    )
    prior_sd: Annotated[float, Field(gt=0)] = Field(
        0.1, description="a pair's difference: share points, or log units"
    )

    @field_validator("measure")
    @classmethod
    def _known(cls, name: str) -> str:
        return measure(name).name

    @model_validator(mode="after")
    def _can_be_exceeded(self) -> GuardrailConfig:
        if measure(self.measure).span[1] <= self.margin:
            raise ValueError(f"margin={self.margin:g} of a share can't be exceeded: make it < 1")
        return self

    def to_domain(self) -> Guardrail:
        return Guardrail(self.measure, self.margin, self.prior_sd)


class ExperimentFields(Model):
    """What makes a plan, and what a test may change of its policy; each field valid by itself."""

    design: Literal["switchback", "split", "auto"] = Field(
        "auto", description="auto: split where the target has replicas, else switchback"
    )
    outcome: str = Field("attainment", description="the measure that has to become better")
    guardrails: tuple[GuardrailConfig, ...] = ()
    covariates: tuple[Covariate, ...] = Field(
        (), description="what is regressed out, with coefficients from earlier pairs only"
    )
    slot_s: Seconds = 60.0
    washout_min_s: Annotated[float, Field(ge=0)] = 5.0
    washout_max_s: Seconds = 30.0
    cooldown_s: Annotated[float, Field(ge=0)] = Field(
        5.0,
        description="last seconds of a slot: arrivals that would straddle the switch",
    )
    max_pairs: Annotated[
        int, Field(ge=7, description="7 pairs are the fewest that can reach 95%")
    ] = 30
    min_requests_per_slot: Annotated[int, Field(ge=1)] = 10
    confidence: Annotated[float, Field(ge=0.8, lt=1)] = 0.95
    prior_sd: Annotated[float, Field(gt=0)] = Field(
        0.1, description="a pair's difference: share points, or log units"
    )
    price_per_hour: Annotated[float, Field(gt=0)] | None = Field(
        None,
        description="of the whole target, in any currency, whatever it uses; the measure `cost` "
        "needs it, or price_per_device_hour",
    )
    price_per_device_hour: Annotated[float, Field(gt=0)] | None = Field(
        None,
        description="of one device: settings cost by the devices that they use (the product of "
        "tensor_, pipeline_ and data_parallel_size)",
    )
    max_error_share: Share = 0.05
    tail_factor: Annotated[float, Field(gt=1)] = 3.0
    max_temperature_c: Annotated[float, Field(gt=0)] | None = Field(
        None, description="of the hottest device while a candidate runs; none: no limit"
    )
    max_out_of_memory: Annotated[int, Field(ge=0)] = Field(
        0, description="out-of-memory events under a candidate that are still borne"
    )

    slot_restarts: Annotated[float, Field(ge=1)] = Field(
        10.0,
        description="a slot lasts at least so many times what the restart before it took: at 10 a "
        "test spends a tenth of its time in restarts, at 3 a quarter, and ends much sooner",
    )
    probe_items: Annotated[int, Field(ge=0)] = Field(
        0,
        description="golden answers that a probe scores; each pair has the next ones, so that "
        "pairs differ by more than their order; 0: all of them, in every pair",
    )

    futility: Annotated[float, Field(ge=0.5, lt=1)] | None = Field(
        0.95,
        description="a test ends early where even the upper end of the effect's one-sided interval "
        "at this level could not be proven in the pairs left; null: it goes on to its budget",
    )

    @field_validator("outcome")
    @classmethod
    def _known(cls, name: str) -> str:
        return measure(name).name

    @field_validator("guardrails")
    @classmethod
    def _distinct(cls, guardrails: tuple[GuardrailConfig, ...]) -> tuple[GuardrailConfig, ...]:
        names = [guardrail.measure for guardrail in guardrails]
        if len(set(names)) != len(names):
            raise ValueError(f"measures repeat: {names}")
        return guardrails

    @field_validator("covariates")
    @classmethod
    def _once(cls, names: tuple[Covariate, ...]) -> tuple[Covariate, ...]:
        if len(set(names)) != len(names):
            raise ValueError(f"names repeat: {list(names)}")
        return names


class ExperimentConfig(ExperimentFields):
    """How A/B tests are run, and when they are made again; the fields fit each other."""

    fdr: Literal["none", "e-lond"] = Field(
        "none", description="e-lond: at most 1 - confidence of all accepted changes are false"
    )
    confirm: bool = Field(
        False, description="an accepted candidate is tested again before it stays"
    )
    plan_from_noise: bool = Field(
        False, description="slot length, washout and prior_sd from the noise seen before a test"
    )
    noise_s: Seconds = Field(900.0, description="traffic that plan_from_noise looks at")
    retest: bool = Field(
        False, description="after a drift the incumbent is tested against the settings before it"
    )
    drift_factor: Annotated[float, Field(gt=1)] | None = Field(
        None,
        description="the workload drifted: its rate or lengths are this many times what they "
        "were, or that part of it; none: drift is not looked for",
    )
    drift_hold_s: Seconds = Field(900.0, description="how long a drift has to last")
    restart_max_s: Seconds = Field(
        900.0, description="how long a target may take to restart before it counts as down"
    )

    @model_validator(mode="after")
    def _times_fit(self) -> ExperimentConfig:
        if self.cooldown_s >= self.slot_s:
            raise ValueError(
                f"cooldown_s={self.cooldown_s} leaves nothing of slot_s={self.slot_s}: shorten it"
            )
        if self.washout_min_s > self.washout_max_s:
            raise ValueError(
                f"washout_min_s={self.washout_min_s} is above washout_max_s={self.washout_max_s}"
            )
        return self

    @model_validator(mode="after")
    def _drift_fits(self) -> ExperimentConfig:
        if self.retest and self.drift_factor is None:
            raise ValueError("retest=true needs drift_factor: say what a drift is, such as 2")
        return self

    @model_validator(mode="after")
    def _measures_fit(self) -> ExperimentConfig:
        watched = [guardrail.measure for guardrail in self.guardrails]
        if self.outcome in watched:
            raise ValueError(
                f"outcome={self.outcome!r} is among the guardrails: it has to become better, so "
                "that its margin is never asked: take it out there"
            )
        if "cost" in (self.outcome, *watched) and self.price is None:
            raise ValueError(
                "the measure cost needs price_per_hour: give what the target costs, or what a "
                "device does as price_per_device_hour"
            )
        return self

    @model_validator(mode="after")
    def _one_price(self) -> ExperimentConfig:
        if self.price_per_hour is not None and self.price_per_device_hour is not None:
            raise ValueError(
                "price_per_hour and price_per_device_hour: give one, of the whole target or of "
                "each device in use"
            )
        return self

    @property
    def price(self) -> float | None:
        """Of the whole target, or of one device, whichever is given."""
        if self.price_per_device_hour is not None:
            return self.price_per_device_hour
        return self.price_per_hour

    def with_changes(self, changes: Mapping[str, Any], where: str) -> ExperimentConfig:
        """These fields with `changes`; raises ConfigError naming `where`, field, value and fix."""
        return parse(ExperimentConfig, {**self.model_dump(exclude_unset=True), **changes}, where)

    def to_domain(self, replicas: int = 1) -> Plan:
        """The plan for a target of so many replicas; raises ConfigError where it has too few."""
        return Plan(
            slot_s=self.slot_s,
            washout_min_s=self.washout_min_s,
            washout_max_s=self.washout_max_s,
            cooldown_s=self.cooldown_s,
            max_pairs=self.max_pairs,
            min_requests_per_slot=self.min_requests_per_slot,
            alpha=1 - self.confidence,
            prior_sd=self.prior_sd,
            outcome=self.outcome,
            limits=self._limits(),
            design=self._design(replicas),
            guardrails=tuple(guardrail.to_domain() for guardrail in self.guardrails),
            covariates=self.covariates,
            price_per_hour=math.nan if self.price is None else self.price,
            priced_per_device=self.price_per_device_hour is not None,
            slot_restarts=self.slot_restarts,
            probe_items=self.probe_items,
            futility=self.futility or 0.0,
        )

    def _limits(self) -> HardLimits:
        hottest = math.inf if self.max_temperature_c is None else self.max_temperature_c
        return HardLimits(
            self.max_error_share,
            self.min_requests_per_slot,
            self.tail_factor,
            hottest,
            self.max_out_of_memory,
        )

    def _design(self, replicas: int) -> Design:
        if self.design == "split" and replicas < 2:
            raise ConfigError(
                "experiment.design='split' needs two replicas or more: list them in the target's "
                "`replicas`, or give switchback"
            )
        if self.design == "auto":
            return Design.SPLIT if replicas >= 2 else Design.SWITCHBACK
        return Design(self.design)
