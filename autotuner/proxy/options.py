"""How one proxy is set up; config files and command lines end in this."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True)
class ProxyOptions:
    """Sizes in requests, records or bytes; times in seconds.

    `max_concurrency` and `max_queue` are the first values of the live knobs. `weights` are by a
    backend's name, 1 where none is given. `usage`: "ask" has streams tell their token counts (and
    takes that last chunk out again), "leave" counts events instead. `hold_limit` bounds the
    requests that wait while the server restarts in place. `drain_s` bounds how long requests on a
    server that is to stop may take. `backend_rest_s`: how long one that refuses connections gets
    none. `upstream_token` goes to the server with requests that bring no Authorization of their
    own.
    """

    admin_token: str | None = None
    max_concurrency: int = 4096
    max_queue: int = 256
    weights: Mapping[str, float] = field(default_factory=dict)
    usage: Literal["ask", "leave"] = "ask"
    max_body_bytes: int = 64 * 2**20
    connect_timeout_s: float = 5.0
    request_timeout_s: float = 3600.0
    drain_s: float = 60.0
    hold_limit: int = 65536
    backend_rest_s: float = 5.0
    upstream_token: str | None = None
    metrics_timeout_s: float = 1.0
    exposure_ring: int = 16384
