"""What good means for a target, which knobs may move, and how changes are proven."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from autotuner.config.alert_rule import AlertRuleConfig, check_together
from autotuner.config.availability import AvailabilityConfig
from autotuner.config.experiment import ExperimentConfig
from autotuner.config.goal import GoalConfig, goal_problem, saving_plan
from autotuner.config.learning import LearningConfig
from autotuner.config.model import Model, Seconds, Share
from autotuner.domain.constraints import parse_constraint
from autotuner.domain.experiment import Plan
from autotuner.domain.goals import Goal
from autotuner.domain.knobs import Knob, KnobSpace, Value
from autotuner.domain.slo import SLO


class SloConfig(Model):
    """Targets per request; at least one is needed."""

    ttft_s: Seconds | None = Field(None, description="time to first token")
    gap_max_s: Seconds | None = Field(
        None, description="largest gap between two tokens of a request"
    )
    tpot_s: Seconds | None = Field(None, description="mean time per output token after the first")
    e2el_s: Seconds | None = Field(None, description="whole request")

    @model_validator(mode="after")
    def _one_at_least(self) -> SloConfig:
        if all(v is None for v in (self.ttft_s, self.gap_max_s, self.tpot_s, self.e2el_s)):
            raise ValueError("no target: give at least one of ttft_s, gap_max_s, tpot_s, e2el_s")
        return self

    def to_domain(self) -> SLO:
        return SLO(self.ttft_s, self.gap_max_s, self.tpot_s, self.e2el_s)


class KnobConfig(Model):
    """One knob's levels in rising order, and how far one experiment may move it."""

    levels: list[Value] = Field(min_length=1)
    live: bool = True
    changes_answers: bool = False
    max_step: Annotated[int, Field(ge=1)] | None = Field(
        None, description="levels that one experiment may move this knob; none: any"
    )
    memory: Literal["working", "reserved"] | None = Field(
        None,
        description="what raising it takes memory for: working (at run time, such as a larger "
        "batch) or reserved (the engine's share, at its start); says what is as bad as settings "
        "that ran out of memory",
    )
    open: bool = Field(
        False,
        description="any other text is a level too, if the target has it, such as the name of new "
        "weights; such a knob is moved by declared tests alone",
    )

    @field_validator("levels")
    @classmethod
    def _distinct(cls, levels: list[Value]) -> list[Value]:
        if len(set(map(repr, levels))) != len(levels):
            raise ValueError(f"levels repeat: {levels}")
        numbers = [v for v in levels if isinstance(v, int | float)]
        if len(numbers) == len(levels) and sorted(numbers) != numbers:
            raise ValueError(f"levels must rise: {levels}")
        return levels

    @model_validator(mode="after")
    def _open_to_texts(self) -> KnobConfig:
        if self.open and not all(isinstance(level, str) for level in self.levels):
            raise ValueError(f"open=true needs levels that are texts: {self.levels}")
        return self

    @model_validator(mode="after")
    def _memory_rises(self) -> KnobConfig:
        rises = all(isinstance(v, int | float) and v >= 0 for v in self.levels)
        if self.memory is not None and not rises:
            raise ValueError(
                f"memory={self.memory!r} needs levels that are numbers from 0 on, where more takes "
                f"more: {self.levels} (a level such as -1 often means no limit: leave it out)"
            )
        return self


class PriorConfig(Model):
    """What serves the model: the planner's figures of it, until the target's own steps tell."""

    hardware: str = Field(
        description="a device of the planner's table, or `this`: the daemon's machine, measured"
    )
    model: str = Field(description="as for `autotuner plan`: a folder, a config.json, or a name")
    precision: Literal["fp32", "bf16", "fp16", "fp8", "int8", "int4"] | None = Field(
        None, description="of the weights; none: what is usual on the hardware"
    )
    table: Path | None = Field(None, description="a hardware table of your own")


class ProposerConfig(Model):
    """Who thinks of candidates, and when."""

    kind: Literal["ppo", "ppo-tpe", "tpe", "gp", "grid", "hill-climb", "aimd", "random"] = "ppo"
    takeover_after: Annotated[int, Field(ge=0)] = Field(
        10, description="ppo-tpe: trials under one workload after which tpe takes over from ppo"
    )
    agent: str = Field("ppo-v2", description="name under policies/agents, or a path without suffix")
    prior: PriorConfig | None = Field(
        None,
        description="ppo, ppo-tpe: what the agent believes of the target's speed and memory before "
        "it sees steps, and for good where the target logs none (vLLM, SGLang)",
    )
    goal_attainment: Share | None = Field(
        None, description="older spelling of goal.attainment, where the goal is goodput"
    )
    min_gain: Share = Field(
        0.02, description="least predicted gain (attainment points) worth a test"
    )
    observe_s: Seconds = Field(
        60.0,
        description="traffic that is looked at before a proposal, the slots of tests among it that "
        "ran the settings in force",
    )
    min_requests: Annotated[int, Field(ge=1)] = 30
    pause_s: Annotated[float, Field(ge=0)] = Field(60.0, description="rest after an experiment")
    retry_s: Annotated[float, Field(ge=0)] = Field(
        300.0, description="rest after nothing was found"
    )
    quarantine_s: Seconds = Field(
        86400.0, description="how long a harmful candidate is not tried again"
    )


class ForecastConfig(Model):
    """What is forecast and how often."""

    bucket_s: Seconds = Field(300.0, description="length of one point of the series")
    horizon_s: Seconds = 3600.0
    refit_s: Seconds = 3600.0
    history_days: Annotated[float, Field(gt=0)] = 14.0
    time_limit_s: Seconds = 30.0


class Policy(Model):
    """What good means for a target, which knobs may move, and how changes are proven."""

    name: str
    slo: SloConfig
    knobs: dict[str, KnobConfig] = Field(min_length=1)
    constraints: tuple[str, ...] = Field(
        (),
        description="what knobs owe each other: `KNOB [* KNOB] <= KNOB or number`, or >=; "
        "nothing that breaks one is proposed",
    )
    goal: GoalConfig = GoalConfig()
    availability: AvailabilityConfig | None = Field(
        AvailabilityConfig(), description="the error budget; null: none is kept"
    )
    experiment: ExperimentConfig = ExperimentConfig()
    proposer: ProposerConfig = ProposerConfig()
    forecast: ForecastConfig = ForecastConfig()
    learning: LearningConfig = LearningConfig()
    alerts: tuple[AlertRuleConfig, ...] = ()

    @field_validator("alerts")
    @classmethod
    def _rules_fit_together(
        cls, alerts: tuple[AlertRuleConfig, ...]
    ) -> tuple[AlertRuleConfig, ...]:
        check_together(alerts)
        return alerts

    @model_validator(mode="after")
    def _constraints_fit(self) -> Policy:
        for constraint in map(parse_constraint, self.constraints):
            for name in constraint.knobs:
                if name not in self.knobs:
                    raise ValueError(
                        f"constraints: `{constraint}` names {name}, which is no knob of this "
                        "policy: put its value there, or take the constraint out"
                    )
                if any(isinstance(level, str | bool) for level in self.knobs[name].levels):
                    raise ValueError(
                        f"constraints: `{constraint}` compares {name}, whose levels are no "
                        "numbers: take the constraint out"
                    )
        return self

    @model_validator(mode="after")
    def _goal_fits(self) -> Policy:
        older = self.proposer.goal_attainment
        if older is not None and (self.goal.saves or "attainment" in self.goal.model_fields_set):
            raise ValueError(
                f"proposer.goal_attainment={older:g} is the older spelling of goal.attainment: "
                "give goal.attainment alone"
            )
        movable = [name for name, knob in self.knobs.items() if len(knob.levels) > 1]
        if problem := goal_problem(self.goal, self.experiment, movable):
            raise ValueError(problem)
        return self

    def aim(self) -> Goal:
        """The goal, whichever way its attainment is spelt."""
        older, goal = self.proposer.goal_attainment, self.goal.to_domain()
        return goal if older is None else Goal(goal.kind, older)

    def saving_plan(self, replicas: int = 1) -> Plan | None:
        """The plan of a test of something that saves; None where the goal is goodput."""
        return saving_plan(self.goal, self.experiment, replicas)

    def space(self) -> KnobSpace:
        return KnobSpace(
            tuple(
                Knob(name, tuple(k.levels), k.live, k.changes_answers, k.max_step, k.memory, k.open)
                for name, k in self.knobs.items()
            ),
            tuple(map(parse_constraint, self.constraints)),
        )
