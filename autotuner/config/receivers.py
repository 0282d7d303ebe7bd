"""Where alerts go, and from where they are heard."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from autotuner.config.model import Model, Seconds

Url = Annotated[str, Field(pattern=r"^https?://")]


class ReceiverConfig(Model):
    """What all receivers have; every one of them gets every alert."""

    name: str = Field(min_length=1)
    max_per_minute: Annotated[int, Field(ge=1)] = Field(
        60, description="notifications beyond it wait; none is lost"
    )


class WebhookConfig(ReceiverConfig):
    """A URL that takes Alertmanager's webhook shape."""

    url: Url
    secret_file: Path | None = Field(None, description="key of the HMAC-SHA256 signature header")
    timeout_s: Seconds = 5.0


class AlertmanagerConfig(ReceiverConfig):
    """An Alertmanager, told through its API v2; of a cluster list every member."""

    url: Url = Field(description="base URL, without /api/v2")
    token_file: Path | None = Field(None, description="bearer token")
    username: str | None = None
    password_file: Path | None = None
    timeout_s: Seconds = 5.0
    repeat_s: Seconds = Field(60.0, description="how often it is told what still fires")

    @model_validator(mode="after")
    def _one_login(self) -> AlertmanagerConfig:
        if (self.username is None) != (self.password_file is None):
            raise ValueError(f"alertmanager {self.name}: give both username and password_file")
        if self.token_file is not None and self.username is not None:
            raise ValueError(f"alertmanager {self.name}: give token_file or username, not both")
        return self


class ChatConfig(ReceiverConfig):
    """A chat or mail service that apprise speaks to."""

    max_per_minute: Annotated[int, Field(ge=1)] = 20
    url_file: Path = Field(
        description="file with the service's apprise URL, which holds its secrets"
    )


class AlertsInConfig(Model):
    """Alertmanager may pause and start tuning: its webhook goes to /api/v1/alertmanager.

    It is done by an alert's label `autotuner`, on the target in its label `target`, or on all.
    """

    token_file: Path = Field(description="bearer token that the webhook has to show")
    actions: tuple[Literal["pause", "start"], ...] = ("pause", "start")
