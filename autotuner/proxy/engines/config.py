"""The `engine` part of the proxy's configuration: one server that the proxy starts and restarts."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, StrictBool, StrictFloat, StrictInt, StrictStr, model_validator

from autotuner.config.model import Model, Seconds
from autotuner.proxy.engines.flags import Flag, read_words
from autotuner.proxy.engines.kinds.base import Kind, KindName
from autotuner.proxy.engines.knobs import check_value, flags_with, kind_of
from autotuner.proxy.ports import EngineKnob, Value

Port = Annotated[int, Field(ge=1, le=65535)]
Ports = Annotated[tuple[Port, ...], Field(min_length=1, max_length=2)]
Scalar = StrictBool | StrictInt | StrictFloat | StrictStr
Variables = dict[str, str]


class KnobSpec(Model):
    """A flag that this version does not know, or another range for one that it does."""

    type: Literal["int", "float", "choice", "bool"]
    min: float | None = None
    max: float | None = None
    values: tuple[Scalar, ...] = Field((), description='of a choice; "none" leaves the flag out')
    changes_answers: bool = False
    flag: str = Field("", description="its word, where it is not --NAME with dashes")
    off: str = Field(
        "", description="the word that switches a bool off; without one it is left out"
    )

    @model_validator(mode="after")
    def _whole(self) -> KnobSpec:
        if self.type in {"int", "float"} and (self.min is None or self.max is None):
            raise ValueError(f"type={self.type}: give min and max")
        if self.type == "choice" and not self.values:
            raise ValueError("type=choice: give values")
        return self

    def named(self, name: str) -> Flag:
        knob = EngineKnob(name, self.type, self.min, self.max, self.values, self.changes_answers)
        return Flag(knob, (self.flag or "--" + name.replace("_", "-"),), self.off)


class CommandConfig(Model):
    """A child process of the proxy."""

    kind: Literal["command"]
    command: Annotated[tuple[str, ...], Field(min_length=1)] = Field(
        description="program and fixed words; {port} is put in, or --port PORT follows; the words "
        "of the settings come last"
    )
    ports: Ports = Field(description="where the server listens; two for mode blue_green")
    host: str = Field("127.0.0.1", description="where the proxy reaches it")
    environment: Variables = Field({}, description="more variables for the server")
    environment_file: Path | None = Field(None, description="NAME=VALUE a line, read at each start")
    port_environment: dict[Port, Variables] = Field(
        {}, description="variables by port, such as CUDA_VISIBLE_DEVICES for blue/green"
    )
    working_dir: Path | None = None
    stop_s: Seconds = Field(30.0, description="between SIGTERM and SIGKILL of all its processes")
    log_bytes: Annotated[int, Field(ge=4096)] = Field(
        4 << 20, description="so much of the end of the server's log is kept"
    )
    keep: bool = Field(False, description="the server outlives the proxy, which finds it again")


class SystemdConfig(Model):
    """A systemd unit, or a template with an instance a port."""

    kind: Literal["systemd"]
    unit: str = Field(
        pattern=r"^[A-Za-z0-9:_.\\{}@-]+$", description="vllm.service, or vllm@{port}.service"
    )
    ports: Ports
    environment_file: str = Field(
        description="written by the proxy, named in the unit's EnvironmentFile=; may hold {port}"
    )
    variable: str = Field(
        "AUTOTUNER_FLAGS", pattern="^[A-Za-z_][A-Za-z0-9_]*$",
        description="holds the flags; unbraced in ExecStart=",
    )  # fmt: skip
    host: str = "127.0.0.1"
    user: bool = Field(False, description="a unit of the user's own manager (systemctl --user)")
    stop_s: Seconds = Field(120.0, description="for one start or stop job; above TimeoutStopSec")

    @model_validator(mode="after")
    def _instances(self) -> SystemdConfig:
        for key in ("unit", "environment_file"):
            if len(self.ports) > 1 and "{port}" not in getattr(self, key):
                raise ValueError(f"{key}={getattr(self, key)!r}: two ports need {{port}} in it")
        return self


class DeploymentConfig(Model):
    """A Deployment with one replica, and the address of its Service."""

    name: str
    url: str = Field(pattern="^https?://")


class KubernetesConfig(Model):
    """A Deployment, or two for blue/green. Needs the extra `kubernetes`."""

    kind: Literal["kubernetes"]
    deployments: Annotated[tuple[DeploymentConfig, ...], Field(min_length=1, max_length=2)]
    namespace: str = "default"
    container: str = Field("", description="which one, where the pod has several")
    variable: str = Field(
        "", pattern="^([A-Za-z_][A-Za-z0-9_]*)?$",
        description="an environment variable for the flags; without one they go into args",
    )  # fmt: skip
    api_url: str = Field("", description="without one: the pod's own account, else the kubeconfig")
    stop_s: Seconds = Field(120.0, description="until a pod must be gone; above its grace period")


LauncherConfig = Annotated[
    CommandConfig | SystemdConfig | KubernetesConfig, Field(discriminator="kind")
]


class WarmUpConfig(Model):
    """Real completions that a new server must give before users' requests go to it."""

    requests: Annotated[int, Field(ge=1, le=4096)] = Field(4, description="at once")
    long_prompt_tokens: Annotated[int, Field(ge=1)] = Field(
        512, description="near your longest usual prompt: memory that only it needs is found out"
    )
    max_tokens: Annotated[int, Field(ge=1)] = 16
    limit_s: Seconds = 120.0


class EngineConfig(Model):
    """One server behind the proxy, and how it is started with other settings."""

    kind: KindName
    url: str = Field("", description="a server that others run: watched, never restarted")
    launcher: LauncherConfig | None = None
    mode: Literal["in_place", "blue_green"] = Field(
        "in_place", description="blue_green starts the new server beside the old: room for two"
    )
    retry_in_place: bool = Field(
        True, description="blue_green: out of memory beside the old server is tried once more "
        "without it, before it counts against the settings"
    )  # fmt: skip
    settings: dict[str, Scalar] = Field({}, description="flags that may change, with first values")
    knobs: dict[str, KnobSpec] = Field({}, description="flags that are not known, or other ranges")
    ready_s: Seconds = Field(900.0, description="from start to /health: weights, compiling, graphs")
    warm_up: WarmUpConfig = WarmUpConfig()
    healthy_s: Seconds = Field(120.0, description="settings that served so long are safe ones")
    hung_s: Seconds = Field(
        60.0, description="silent for so long, and without a completion: restarted"
    )
    state_dir: Path | None = Field(
        None, description="record and logs; without one $STATE_DIRECTORY, else ~/.local/state"
    )

    @model_validator(mode="after")
    def _fits(self) -> EngineConfig:
        if (self.launcher is None) == (not self.url):
            raise ValueError(
                "give either url (a server that others run) or launcher (how the proxy starts one)"
            )
        if self.launcher is None:
            if self.settings:
                raise ValueError("settings: without a launcher nothing can be restarted with them")
            return self
        self._check_settings()
        if self.mode == "blue_green" and self._places() != 2:
            raise ValueError("mode=blue_green: give two ports (or deployments) to the launcher")
        return self

    def flags(self) -> dict[str, Flag]:
        """The flags that may change: those of `settings`."""
        known = self.known_flags()
        return {name: known[name] for name in self.settings}

    def known_flags(self) -> dict[str, Flag]:
        return flags_with(self.server_kind(), {n: s.named(n) for n, s in self.knobs.items()})

    def server_kind(self) -> Kind:
        return kind_of(self.kind)

    def first_settings(self) -> dict[str, Value]:
        return dict(self.settings)

    def directory(self) -> Path:
        if self.state_dir is not None:
            return self.state_dir
        # systemd gives several directories with colons between them; the first is the unit's own
        if given := os.environ.get("STATE_DIRECTORY"):
            return Path(given.split(":")[0])
        home = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
        return Path(home) / "autotuner" / "proxy"

    def _places(self) -> int:
        launcher = self.launcher
        if isinstance(launcher, KubernetesConfig):
            return len(launcher.deployments)
        return len(set(launcher.ports)) if launcher else 0

    def _check_settings(self) -> None:
        known = self.known_flags()
        for name, value in self.settings.items():
            if name not in known:
                raise ValueError(
                    f"settings.{name}: not a flag of {self.kind} that is known; describe it under "
                    "knobs"
                )
            check_value(known[name].knob, value)
        if isinstance(self.launcher, CommandConfig):
            twice = read_words(self.launcher.command, self.flags())
            if twice:
                raise ValueError(
                    f"launcher.command sets {', '.join(sorted(twice))}, and so does settings: take "
                    "it out of command"
                )
