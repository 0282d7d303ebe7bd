"""The daemon's own configuration: its targets, its history, and how it speaks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from autotuner.config.keeping import KeepConfig
from autotuner.config.learn import LearnConfig
from autotuner.config.listen import ListenConfig
from autotuner.config.metrics import MetricsConfig
from autotuner.config.model import Model, Seconds
from autotuner.config.receivers import AlertmanagerConfig, AlertsInConfig, ChatConfig, WebhookConfig
from autotuner.domain.mode import Mode

Url = Annotated[str, Field(pattern=r"^https?://")]


class TargetConfig(Model):
    """One deployment that is tuned: a worker, or several replicas of it behind a router."""

    name: str = Field(pattern=r"^[A-Za-z0-9_.-]+$")
    url: Url | None = Field(None, description="base URL of the worker; or give replicas")
    replicas: list[Url] = Field(
        [],
        description="base URLs of two replicas or more, tested side by side: those at even places "
        "are one lane, those at odd places the other",
    )
    policy: str = Field("default", description="a file, or a name under policies/")
    admin_token_file: Path | None = None
    timeout_s: Seconds = 5.0
    mode: Mode = Field(
        Mode.ACTIVE,
        description="advisory decides and records but applies nothing; paused observes only",
    )
    metrics: MetricsConfig = Field(
        MetricsConfig(), description="where numbers come from, besides the target's own /metrics"
    )

    @property
    def urls(self) -> tuple[str, ...]:
        """The base URL of each replica; one where the target is a single worker."""
        return tuple(self.replicas) if self.url is None else (self.url,)

    @model_validator(mode="after")
    def _addressed(self) -> TargetConfig:
        if self.url is None and not self.replicas:
            raise ValueError(f"target {self.name}: no address: give url, or replicas")
        if self.url is not None and self.replicas:
            raise ValueError(f"target {self.name}: give either url or replicas, not both")
        if len(self.replicas) == 1:
            raise ValueError(f"target {self.name}: one replica alone: give it as url")
        if len({url.rstrip("/") for url in self.replicas}) != len(self.replicas):
            raise ValueError(f"target {self.name}: replicas repeat: {self.replicas}")
        return self

    @model_validator(mode="after")
    def _measured(self) -> TargetConfig:
        unfit = self.metrics.fits(len(self.urls))
        if unfit is not None:
            raise ValueError(f"target {self.name}: {unfit}")
        return self


class LogConfig(Model):
    format: Literal["auto", "console", "json"] = Field(
        "auto", description="auto: for eyes, or for the journal where systemd reads the output"
    )
    level: Literal["debug", "info", "warning", "error"] = "info"


class LeaderConfig(Model):
    """One daemon leads those that share a history and this name; the others stand by."""

    name: str = Field(
        "autotuner", min_length=1, description="daemons with other targets need another name"
    )
    check_s: Seconds = Field(
        2.0, description="how often the lock is confirmed; a leader that is silent for 5 times "
        "as long is replaced",
    )  # fmt: skip


class FitsConfig(Model):
    """Where forecasts are fitted. How many at once: `forecast_processes`."""

    backend: Literal["processes", "joblib"] = Field(
        "processes", description="joblib fits many series in one call; pip install autotuner[ray]"
    )
    joblib_backend: Literal["loky", "ray"] = Field(
        "loky",
        description="with joblib: loky's processes on this machine, or the Ray cluster that "
        "RAY_ADDRESS names (without it Ray is started here)",
    )

    @model_validator(mode="after")
    def _ray_needs_joblib(self) -> FitsConfig:
        if self.backend == "processes" and self.joblib_backend != "loky":
            raise ValueError(
                f"forecast.joblib_backend={self.joblib_backend!r}: no effect with "
                "forecast.backend='processes': give forecast.backend: joblib"
            )
        return self


class Config(Model):
    """The daemon's configuration file."""

    history: str = Field("sqlite:///autotuner.sqlite3", description="SQLAlchemy URL")
    history_file: Path | None = Field(
        None, description="file with that URL, which holds a password; instead of history"
    )
    targets: list[TargetConfig] = Field(min_length=1)
    cycle_s: Seconds = 5.0
    state_folder: Path | None = Field(
        None,
        description="where what was learnt of targets lies; else $STATE_DIRECTORY, beside "
        "a SQLite history, or $XDG_STATE_HOME (~/.local/state)/autotuner",
    )
    listen: ListenConfig = ListenConfig()
    leader: LeaderConfig = LeaderConfig()
    webhooks: tuple[WebhookConfig, ...] = ()
    alertmanagers: tuple[AlertmanagerConfig, ...] = ()
    chats: tuple[ChatConfig, ...] = ()
    alerts_in: AlertsInConfig | None = None
    forecast_processes: Annotated[int, Field(ge=0)] = Field(
        0, description="processes that stay and fit forecasts; 0: one is started for each fit"
    )
    forecast: FitsConfig = FitsConfig()
    log: LogConfig = LogConfig()
    keep_days: Annotated[float, Field(gt=0, description="history older than this is pruned")] = (
        365.0
    )
    keep: KeepConfig = Field(KeepConfig(), description="days by what it is; else keep_days")
    learn: LearnConfig | None = Field(
        None, description="fine-tuning of a target's model on new examples; none: off"
    )

    @property
    def receivers(self) -> tuple[str, ...]:
        """The name of every receiver of alerts, whatever its kind."""
        return tuple(one.name for one in (*self.webhooks, *self.alertmanagers, *self.chats))

    @model_validator(mode="after")
    def _one_history(self) -> Config:
        if self.history_file is not None and "history" in self.model_fields_set:
            raise ValueError("history_file: give it or history, not both")
        return self

    @model_validator(mode="after")
    def _receivers_differ(self) -> Config:
        if len(set(self.receivers)) != len(self.receivers):
            raise ValueError(f"two receivers of alerts share a name: {list(self.receivers)}")
        return self

    @model_validator(mode="after")
    def _one_learns(self) -> Config:
        if self.learn is None:
            return self
        names = [target.name for target in self.targets]
        if self.learn.target is None and len(names) > 1:
            raise ValueError(f"learn.target: needed, since there are several: {', '.join(names)}")
        if self.learn.target not in (None, *names):
            raise ValueError(
                f"learn.target={self.learn.target!r}: unknown; give one of {', '.join(names)}"
            )
        return self

    @model_validator(mode="after")
    def _joblib_needs_workers(self) -> Config:
        if self.forecast.backend == "joblib" and self.forecast_processes == 0:
            raise ValueError(
                "forecast_processes=0: forecast.backend='joblib' needs the number of fits at once: "
                "give 1 or more"
            )
        return self

    @field_validator("targets")
    @classmethod
    def _names_differ(cls, targets: list[TargetConfig]) -> list[TargetConfig]:
        names = [t.name for t in targets]
        if len(set(names)) != len(names):
            raise ValueError(f"two targets share a name: {names}")
        return targets
