"""A proxy on a real socket, in front of servers that a test makes."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import requests

from autotuner.proxy.app import ProxyApp, make_app
from autotuner.proxy.fixed import FixedEngines
from autotuner.proxy.options import ProxyOptions
from autotuner.proxy.ports import Backend
from tests.integration.proxy_core.serving import OddServer, Script, serving

PATIENCE_S = 60.0


@dataclass
class Proxied:
    """A proxy at `url` in front of the servers at `behind`."""

    url: str
    app: ProxyApp
    behind: list[OddServer]

    @property
    def server(self) -> OddServer:
        return self.behind[0]

    def post(self, body: Any, path: str = "/v1/completions", **more: Any) -> requests.Response:
        return requests.post(f"{self.url}{path}", json=body, timeout=PATIENCE_S, **more)

    def exposures(self, count: int) -> list[dict[str, Any]]:
        """The log, once it has that many: an answer may be read before its record is written."""

        def read() -> list[dict[str, Any]]:
            told = requests.get(f"{self.url}/admin/exposures", timeout=PATIENCE_S).json()
            found: list[dict[str, Any]] = told["exposures"]
            return found

        eventually(lambda: len(read()) >= count)
        assert len(read()) == count
        return read()


def eventually(true: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < end, "it never came to be"
        time.sleep(0.01)


@contextlib.contextmanager
def proxied(options: ProxyOptions, *scripts: Script) -> Iterator[Proxied]:
    with contextlib.ExitStack() as ends:
        behind = [OddServer(script) for script in scripts]
        urls = [ends.enter_context(server.running()) for server in behind]
        backends = [Backend(url, f"b{i}") for i, url in enumerate(urls)]
        app = make_app(options, lambda _: FixedEngines(backends))
        url = ends.enter_context(serving(app))
        eventually(lambda: requests.get(f"{url}/health", timeout=PATIENCE_S).ok)
        yield Proxied(url, app, behind)


@pytest.fixture
def made() -> Iterator[Callable[..., Proxied]]:
    """Makes proxies that end with the test."""
    with contextlib.ExitStack() as ends:

        def make(*scripts: Script, **options: Any) -> Proxied:
            return ends.enter_context(proxied(ProxyOptions(**options), *scripts))

        yield make
