"""Asks a URL what answers there. I/O alone: what is made of the answer stands elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import requests

from autotuner.domain.errors import ConfigError, TargetError, TargetUnavailableError
from autotuner.domain.knobs import Value
from autotuner.domain.telemetry import Snapshot
from autotuner.metrics.scrape import PrometheusTextSource
from autotuner.targets.bodies import SettingsBody
from autotuner.targets.capabilities import Capability
from autotuner.targets.http import AdminClient

WORKER, PROXY = "worker", "proxy"
_ASK_AGAIN_S = 0.5


@dataclass(frozen=True)
class Found:
    """What answers at `url`. `kind`: worker, proxy, vllm or sglang.

    Only worker and proxy have settings. `behind`: what the proxy's server is; `version` is then
    that server's.
    """

    url: str
    kind: str
    settings: Mapping[str, Value] = field(default_factory=dict)
    capabilities: Mapping[str, Capability] = field(default_factory=dict)
    version: str | None = None
    seen: Snapshot | None = None
    behind: str | None = None

    @property
    def tunable(self) -> bool:
        """The worker is, and whatever has the proxy in front of it."""
        return self.kind in (WORKER, PROXY)


def probe_within(
    url: str,
    token: str | None,
    wait_s: float,
    say: Callable[[str], None],
    timeout_s: float = 5.0,
) -> Found:
    """What answers at `url`, asked again for `wait_s` while nothing does. Raises ConfigError."""
    deadline, told = time.monotonic() + wait_s, False
    while True:
        try:
            return probe(url, token, timeout_s)
        except TargetUnavailableError as problem:
            if time.monotonic() >= deadline:
                raise ConfigError(no_answer(url, problem)) from problem
        if not told:
            say(f"waiting for {url} for at most {wait_s:g} s")
            told = True
        time.sleep(_ASK_AGAIN_S)


def no_answer(url: str, problem: Exception) -> str:
    """What to do where nothing usable answers."""
    return (
        f"--url={url}: no usable answer. Start the worker (`autotuner worker --port 8000`), or "
        "`autotuner proxy` in front of your server; give the URL of one that runs; or give it time "
        f"with --wait-s 300 ({plain(problem)})"
    )


def plain(problem: Exception) -> str:
    """The cause without the layers of the HTTP library around it."""
    text = str(problem)
    for sign in ("Connection refused", "Name or service not known", "timed out", "No route"):
        if sign in text:
            return sign.lower()
    return text if len(text) < 200 else text[:197] + "..."


def probe(url: str, token: str | None, timeout_s: float = 5.0) -> Found:
    """What answers at `url` now.

    Raises TargetUnavailableError where nothing does, ConfigError where a token is needed or the
    server is none that we know.
    """
    admin = AdminClient(url, token, timeout_s)
    try:
        body = admin.get("/admin/settings", SettingsBody)
    except TargetUnavailableError as refused:
        # A front that answers in its own way may still be a server that we know.
        return _by_its_metrics(url, timeout_s, refused)
    except TargetError as refused:
        if "admin_token_file" in str(refused):
            raise ConfigError(
                f"--url={url}: it asks for its admin token: write it into a file and give "
                "--token-file FILE"
            ) from refused
        return _by_its_metrics(url, timeout_s, refused)
    finally:
        admin.close()
    seen = _seen(PrometheusTextSource(url, timeout_s))
    if body.server is None:
        return Found(url, WORKER, body.settings, body.offered(), seen=seen)
    return Found(
        url,
        PROXY,
        body.settings,
        body.offered(),
        body.server.version or None,
        seen,
        behind=body.server.kind,
    )


def _by_its_metrics(url: str, timeout_s: float, refused: TargetError) -> Found:
    source = PrometheusTextSource(url, timeout_s)
    try:
        snapshot = source.snapshot()
    except TargetUnavailableError as problem:
        if isinstance(refused, TargetUnavailableError):
            raise refused from problem
        raise ConfigError(
            f"--url={url}: it answers, but not as the bundled worker, the proxy, vLLM or SGLang "
            f"do: give the base URL of one of them ({plain(problem)})"
        ) from problem
    finally:
        source.close()
    if source.family in (WORKER, PROXY):  # its admin front is in trouble: it may be loading yet
        raise refused
    version = _version(url, timeout_s)
    return Found(url, source.family or "unknown", version=version, seen=snapshot)


def _seen(source: PrometheusTextSource) -> Snapshot | None:
    try:
        return source.snapshot()
    except TargetUnavailableError:
        return None
    finally:
        source.close()


def _version(url: str, timeout_s: float) -> str | None:
    """What the server says of its version; None where it does not."""
    for path in _VERSIONS:
        try:
            answer = requests.get(
                f"{url.rstrip('/')}{path}", timeout=timeout_s, allow_redirects=False
            )
            told = answer.json().get("version") if answer.ok else None
        except (requests.RequestException, ValueError, AttributeError):
            continue
        if isinstance(told, str):
            return told
    return None


_VERSIONS = ("/version", "/server_info", "/get_server_info")  # vLLM's; SGLang's, new and old
