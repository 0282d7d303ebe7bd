"""Configuration and policies: outside data, checked once, turned into the domain's values.

A key that is not known is refused, so that a typo never reads as a default.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from autotuner.domain.errors import ConfigError
from autotuner.domain.experiment import HardLimits, Plan
from autotuner.domain.knobs import Knob, KnobSpace, Value
from autotuner.domain.mode import Mode
from autotuner.domain.slo import SLO

Seconds = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(ge=0, le=1)]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SloConfig(_Model):
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


class KnobConfig(_Model):
    """One knob's levels in rising order, and how far one experiment may move it."""

    levels: list[Value] = Field(min_length=1)
    live: bool = True
    changes_answers: bool = False
    max_step: Annotated[int, Field(ge=1)] | None = Field(
        None, description="levels that one experiment may move this knob; none: any"
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


class ExperimentConfig(_Model):
    """How A/B tests are run."""

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
    prior_sd: Annotated[
        float, Field(gt=0, description="a pair's difference, attainment points")
    ] = 0.1
    max_error_share: Share = 0.05
    tail_factor: Annotated[float, Field(gt=1)] = 3.0

    @model_validator(mode="after")
    def _fits(self) -> ExperimentConfig:
        if self.cooldown_s >= self.slot_s:
            raise ValueError(
                f"cooldown_s={self.cooldown_s} leaves nothing of slot_s={self.slot_s}: shorten it"
            )
        if self.washout_min_s > self.washout_max_s:
            raise ValueError(
                f"washout_min_s={self.washout_min_s} is above washout_max_s={self.washout_max_s}"
            )
        return self

    def to_domain(self) -> Plan:
        limits = HardLimits(self.max_error_share, self.min_requests_per_slot, self.tail_factor)
        return Plan(
            slot_s=self.slot_s,
            washout_min_s=self.washout_min_s,
            washout_max_s=self.washout_max_s,
            cooldown_s=self.cooldown_s,
            max_pairs=self.max_pairs,
            min_requests_per_slot=self.min_requests_per_slot,
            alpha=1 - self.confidence,
            prior_sd=self.prior_sd,
            limits=limits,
        )


class ProposerConfig(_Model):
    """Who thinks of candidates, and when."""

    kind: Literal["ppo", "random", "hill-climb"] = "ppo"
    agent: str = Field("ppo-v1", description="name under policies/agents, or a path without suffix")
    goal_attainment: Share = Field(0.99, description="at or above it nothing is tested")
    min_gain: Share = Field(
        0.02, description="least predicted gain (attainment points) worth a test"
    )
    observe_s: Seconds = Field(60.0, description="traffic that is looked at before a proposal")
    min_requests: Annotated[int, Field(ge=1)] = 30
    pause_s: Annotated[float, Field(ge=0)] = Field(60.0, description="rest after an experiment")
    retry_s: Annotated[float, Field(ge=0)] = Field(
        300.0, description="rest after nothing was found"
    )
    quarantine_s: Seconds = Field(
        86400.0, description="how long a harmful candidate is not tried again"
    )


class ForecastConfig(_Model):
    """What is forecast and how often."""

    bucket_s: Seconds = Field(300.0, description="length of one point of the series")
    horizon_s: Seconds = 3600.0
    refit_s: Seconds = 3600.0
    history_days: Annotated[float, Field(gt=0)] = 14.0
    time_limit_s: Seconds = 30.0


class AlertRuleConfig(_Model):
    """A rule over one series of the target."""

    name: str
    tier: Literal["hardware", "framework", "business"] = "framework"
    series: str
    above: float | None = None
    below: float | None = None
    for_s: Annotated[float, Field(ge=0)] = 60.0
    severity: Literal["info", "warning", "critical"] = "warning"

    @model_validator(mode="after")
    def _one_side(self) -> AlertRuleConfig:
        if (self.above is None) == (self.below is None):
            raise ValueError(f"rule {self.name}: give exactly one of above, below")
        return self


class Policy(_Model):
    """What good means for a target, which knobs may move, and how changes are proven."""

    name: str
    slo: SloConfig
    knobs: dict[str, KnobConfig] = Field(min_length=1)
    experiment: ExperimentConfig = ExperimentConfig()
    proposer: ProposerConfig = ProposerConfig()
    forecast: ForecastConfig = ForecastConfig()
    alerts: list[AlertRuleConfig] = []

    def space(self) -> KnobSpace:
        return KnobSpace(
            tuple(
                Knob(name, tuple(k.levels), k.live, k.changes_answers, k.max_step)
                for name, k in self.knobs.items()
            )
        )


class TargetConfig(_Model):
    """One deployment that is tuned."""

    name: str = Field(pattern=r"^[A-Za-z0-9_.-]+$")
    url: str = Field(pattern=r"^https?://", description="base URL of the worker")
    policy: str = Field("default", description="a file, or a name under policies/")
    admin_token_file: Path | None = None
    timeout_s: Seconds = 5.0
    mode: Mode = Field(
        Mode.ACTIVE,
        description="advisory decides and records but applies nothing; paused observes only",
    )


class WebhookConfig(_Model):
    """Where alerts go, in Alertmanager's webhook shape."""

    name: str
    url: str = Field(pattern=r"^https?://")
    secret_file: Path | None = Field(None, description="key of the HMAC-SHA256 signature header")
    timeout_s: Seconds = 5.0


class LogConfig(_Model):
    format: Literal["console", "json"] = "console"
    level: Literal["debug", "info", "warning", "error"] = "info"


class ListenConfig(_Model):
    """The daemon's own /metrics and /health."""

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 9187


class Config(_Model):
    """The daemon's configuration file."""

    history: str = Field("sqlite:///autotuner.sqlite3", description="SQLAlchemy URL")
    targets: list[TargetConfig] = Field(min_length=1)
    cycle_s: Seconds = 5.0
    listen: ListenConfig = ListenConfig()
    webhooks: list[WebhookConfig] = []
    log: LogConfig = LogConfig()
    keep_days: Annotated[float, Field(gt=0, description="history older than this is pruned")] = (
        365.0
    )

    @field_validator("targets")
    @classmethod
    def _names_differ(cls, targets: list[TargetConfig]) -> list[TargetConfig]:
        names = [t.name for t in targets]
        if len(set(names)) != len(names):
            raise ValueError(f"two targets share a name: {names}")
        return targets


M = TypeVar("M", bound=_Model)


def load_config(path: Path) -> Config:
    """The configuration in `path`; raises ConfigError naming field, value and fix."""
    return _parse(Config, _read_yaml(path), str(path))


def load_policy(name: str, folder: Path) -> Policy:
    """The policy in the file `name`, or the shipped one of that name under `folder`."""
    path = Path(name) if name.endswith((".yaml", ".yml")) else folder / f"{name}.yaml"
    if not path.exists():
        known = sorted(p.stem for p in folder.glob("*.yaml"))
        raise ConfigError(f"policy={name!r}: no such file {path}; give a path, or one of {known}")
    return _parse(Policy, _read_yaml(path), str(path))


def parse_config(data: Any, where: str = "config") -> Config:
    return _parse(Config, data, where)


def parse_policy(data: Any, where: str = "policy") -> Policy:
    return _parse(Policy, data, where)


def read_secret(path: Path | None, field: str, *, for_header: bool = False) -> str | None:
    """The secret that the file holds, without the white space around it; None without a file.

    `for_header`: it travels in an HTTP header, which carries one word of printable ASCII.
    Raises ConfigError naming `field`, the path and the fix, and nothing of the secret.
    """
    if path is None:
        return None
    named = f"{field}={str(path)!r}"
    try:
        secret = path.read_text(encoding="utf-8").strip()
    except OSError as problem:
        fix = "give a file that holds the secret"
        raise ConfigError(f"{named}: can't be read ({problem.strerror}); {fix}") from problem
    except UnicodeDecodeError as problem:
        raise ConfigError(f"{named}: not UTF-8; put the secret into it as text") from problem
    if not secret or not secret.isprintable():
        raise ConfigError(f"{named}: must hold one line with the secret")
    if for_header and not (secret.isascii() and " " not in secret):
        raise ConfigError(f"{named}: must hold one word of ASCII characters, since it is a token")
    return secret


def json_schema() -> dict[str, Any]:
    """JSON schemas of the configuration and of a policy, for editors."""
    return {"config": Config.model_json_schema(), "policy": Policy.model_json_schema()}


def _read_yaml(path: Path) -> Any:
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as problem:
        raise ConfigError(
            f"{path}: can't be read ({problem.strerror}); give a readable YAML file"
        ) from problem
    except (yaml.YAMLError, UnicodeDecodeError) as problem:
        raise ConfigError(f"{path}: not valid YAML: {problem}") from problem


def _parse(model: type[M], data: Any, where: str) -> M:
    if not isinstance(data, dict):
        raise ConfigError(
            f"{where}: expected keys and values at the top, found {type(data).__name__}"
        )
    try:
        return model.model_validate(data)
    except ValidationError as problem:
        raise ConfigError(f"{where}:\n" + "\n".join(map(_describe, problem.errors()))) from problem


def _describe(error: Any) -> str:
    """One line of a validation error: field, value, and what to do."""
    field = ".".join(str(part) for part in error["loc"]) or "(top)"
    if error["type"] == "extra_forbidden":
        return f"  {field}: unknown key; take it out or mend its spelling"
    if error["type"] == "missing":
        return f"  {field}: missing; give it a value"
    value = repr(error["input"])
    shown = value if len(value) <= 60 else value[:57] + "..."
    return f"  {field}={shown}: {error['msg'].removeprefix('Value error, ')}"
