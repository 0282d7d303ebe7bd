"""The proxy's configuration file: read once, checked whole; secrets are named by file alone."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from autotuner.config.model import Model, Seconds, parse, read_yaml
from autotuner.config.secrets import read_secret
from autotuner.domain.errors import ConfigError
from autotuner.fronts.loopback import is_loopback
from autotuner.proxy.engines.config import EngineConfig
from autotuner.proxy.options import ProxyOptions
from autotuner.proxy.ports import Backend

PORT = 9180
MIN_TOKEN_LENGTH = 16
_STANDARD = ProxyOptions()
Url = Annotated[str, Field(pattern="^https?://")]


class ProxyListen(Model):
    """Where the proxy takes requests, and whose word its admin routes take."""

    host: str = Field("127.0.0.1", description="beyond loopback admin_token_file is needed")
    port: Annotated[int, Field(ge=0, le=65535)] = PORT
    admin_token_file: Path | None = Field(
        None, description="who may read and change settings under /admin; without it only this "
        "machine may"
    )  # fmt: skip
    tls_cert: Path | None = Field(None, description="certificate chain in PEM")
    tls_key: Path | None = Field(None, description="its private key in PEM, without a password")

    @model_validator(mode="after")
    def _guarded(self) -> ProxyListen:
        if (self.tls_cert is None) != (self.tls_key is None):
            missing = "tls_key" if self.tls_key is None else "tls_cert"
            raise ValueError(f"TLS needs both files: give listen.{missing} as well, or neither")
        if not is_loopback(self.host) and self.admin_token_file is None:
            raise ValueError(
                f"host={self.host!r} is reachable from other machines, which could change the "
                "settings: give listen.admin_token_file, or listen on 127.0.0.1"
            )
        return self


class BackendConfig(Model):
    """A server that others run; requests are shared out by weight."""

    url: Url
    name: str = Field("", description="for logs and metrics; without one, host:port of the url")
    weight: Annotated[float, Field(ge=0, le=1000)] = 1.0

    @field_validator("url")
    @classmethod
    def _base(cls, url: str) -> str:
        parts = urlsplit(url)
        if not parts.hostname or parts.query or parts.fragment:
            raise ValueError("give the server's base address, such as http://127.0.0.1:8000")
        if parts.username is not None or parts.password is not None:
            raise ValueError("no secrets in an address: give upstream_token_file")
        return url.rstrip("/").removesuffix("/v1")

    @property
    def backend(self) -> Backend:
        return Backend(self.url, self.name or urlsplit(self.url).netloc)


class LiveConfig(Model):
    """First values of the knobs that change while the proxy runs."""

    max_concurrency: Annotated[int, Field(ge=1, le=4096)] = Field(
        _STANDARD.max_concurrency, description="requests at the server at once"
    )
    max_queue: Annotated[int, Field(ge=0, le=65536)] = Field(
        _STANDARD.max_queue, description="requests that wait; beyond, 503 with Retry-After"
    )


class ProxyLog(Model):
    """How the proxy logs, on the error stream."""

    format: Literal["auto", "console", "json"] = "auto"
    level: Literal["debug", "info", "warning", "error"] = "info"


class ProxyConfig(Model):
    """One proxy: where it listens, and what stands behind it (`backends` or `engine`)."""

    listen: ProxyListen = ProxyListen()
    backends: tuple[BackendConfig, ...] = Field((), description="servers that others run")
    engine: EngineConfig | None = Field(
        None, description="one server that the proxy may restart with other settings"
    )
    live: LiveConfig = LiveConfig()
    usage: Literal["ask", "leave"] = Field(
        "ask", description="ask: every stream tells its token counts (taken out again where the "
        "client did not ask); leave: bodies are not touched, and tokens are estimated"
    )  # fmt: skip
    upstream_token_file: Path | None = Field(
        None, description="its token goes to the server where a client brings no Authorization"
    )
    drain_s: Seconds = Field(
        _STANDARD.drain_s, description="how long running requests may still take at the end"
    )
    connect_timeout_s: Seconds = _STANDARD.connect_timeout_s
    request_timeout_s: Seconds = Field(
        _STANDARD.request_timeout_s, description="longest life of a request"
    )
    max_body_bytes: Annotated[int, Field(ge=1024)] = _STANDARD.max_body_bytes
    exposure_ring: Annotated[int, Field(ge=100, le=1_000_000)] = Field(
        _STANDARD.exposure_ring, description="finished requests that are kept for the tuner"
    )
    log: ProxyLog = ProxyLog()

    @model_validator(mode="after")
    def _one_kind(self) -> ProxyConfig:
        if bool(self.backends) == (self.engine is not None):
            raise ValueError(
                "give either backends (servers that others run) or engine (one that the proxy "
                "may restart)"
            )
        for field, values in (
            ("url", [one.url for one in self.backends]),
            ("name", [one.backend.name for one in self.backends]),
        ):
            twice = sorted({value for value in values if values.count(value) > 1})
            if twice:
                raise ValueError(f"backends: {field} {', '.join(twice)} is there twice")
        if self.backends and not any(one.weight for one in self.backends):
            raise ValueError("backends: every weight is 0: give one above 0")
        return self


def load_proxy_config(path: Path) -> ProxyConfig:
    """Raises ConfigError naming file, field, value and fix."""
    return parse(ProxyConfig, read_yaml(path), str(path))


def short_config(urls: tuple[str, ...], host: str, port: int) -> ProxyConfig:
    """What `--backend URL --host HOST --port PORT` means. Raises ConfigError."""
    told = {
        "listen": {"host": host, "port": port},
        "backends": [{"url": url} for url in urls],
    }
    return parse(ProxyConfig, told, "the command line")


def options_of(config: ProxyConfig) -> ProxyOptions:
    """The options that core takes, with the secrets read. Raises ConfigError."""
    return ProxyOptions(
        admin_token=_admin_token(config.listen.admin_token_file),
        max_concurrency=config.live.max_concurrency,
        max_queue=config.live.max_queue,
        weights={one.backend.name: one.weight for one in config.backends},
        usage=config.usage,
        max_body_bytes=config.max_body_bytes,
        connect_timeout_s=config.connect_timeout_s,
        request_timeout_s=config.request_timeout_s,
        drain_s=config.drain_s,
        exposure_ring=config.exposure_ring,
        upstream_token=read_secret(
            config.upstream_token_file, "upstream_token_file", for_header=True
        ),
    )


def _admin_token(path: Path | None) -> str | None:
    token = read_secret(path, "listen.admin_token_file", for_header=True)
    if token is not None and len(token) < MIN_TOKEN_LENGTH:
        raise ConfigError(
            f"listen.admin_token_file={str(path)!r}: {len(token)} characters are too few: put at "
            f"least {MIN_TOKEN_LENGTH} into it, as `openssl rand -hex 32` makes them"
        )
    return token
