"""Where the daemon's own HTTP listens, and who may come in."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field, model_validator

from autotuner.config.model import Model
from autotuner.fronts.loopback import is_loopback


class ListenConfig(Model):
    """The daemon's own page, API, /metrics and /health."""

    host: str = Field("127.0.0.1", description="beyond loopback tokens_file is needed")
    port: Annotated[int, Field(ge=0, le=65535)] = 9187
    tokens_file: Path | None = Field(
        None, description="who may come in: `autotuner token new` writes it; then nobody comes in "
        "without, whatever the address",
    )  # fmt: skip
    tls_cert: Path | None = Field(None, description="certificate chain in PEM")
    tls_key: Path | None = Field(None, description="its private key in PEM, without a password")
    hosts: tuple[str, ...] = Field(
        (), description="names in the Host header that are let in, besides loopback's and host's; "
        "on an address beyond loopback none means any",
    )  # fmt: skip
    trusted_proxies: tuple[str, ...] = Field(
        (), description="addresses whose X-Forwarded-For tells who asks"
    )
    open_metrics: bool = Field(True, description="whether /metrics needs no token")

    @property
    def beyond_loopback(self) -> bool:
        return not is_loopback(self.host)

    @property
    def tls(self) -> bool:
        return self.tls_cert is not None

    @model_validator(mode="after")
    def _guarded(self) -> ListenConfig:
        if (self.tls_cert is None) != (self.tls_key is None):
            missing = "tls_key" if self.tls_key is None else "tls_cert"
            raise ValueError(f"TLS needs both files: give listen.{missing} as well, or neither")
        if self.beyond_loopback and self.tokens_file is None:
            raise ValueError(
                f"host={self.host!r} is reachable from other machines: give listen.tokens_file "
                "(`autotuner token new` writes it), or listen on 127.0.0.1"
            )
        if not self.open_metrics and self.tokens_file is None:
            raise ValueError("open_metrics=False has no effect without listen.tokens_file: give it")
        return self
