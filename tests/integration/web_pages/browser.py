"""Pages over a filled history on a real socket, and Chromium to look at them."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import uvicorn
from playwright.sync_api import Browser, Page, sync_playwright
from prometheus_client import CollectorRegistry

from autotuner.web.app import create_app
from autotuner.web.guard import Guard
from autotuner.web.pages.router import pages_router
from autotuner.web.session_routes import session_routes
from autotuner.web.sources import Sources

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
# Without a sandbox, since tests may run as root; nothing but our own pages is opened.
_FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]


@contextmanager
def served(sources: Sources, guard: Guard, clock: Callable[[], float]) -> Iterator[str]:
    """The base URL of the daemon's HTTP, whose page tells the time by `clock`."""
    routers = [session_routes(guard), pages_router(sources, guard, clock)]
    app = create_app(CollectorRegistry(), lambda: (True, {}), routers, guard)
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_config=None))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.02)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(timeout=10)


@contextmanager
def chromium() -> Iterator[Browser]:
    assert CHROMIUM is not None
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=_FLAGS)
        try:
            yield browser
        finally:
            browser.close()


@dataclass
class Watched:
    """What a page said to its console, and which hosts it asked."""

    console: list[str] = field(default_factory=list)
    asked: set[str] = field(default_factory=set)

    def watch(self, page: Page) -> None:
        page.on("console", lambda message: self._told(message.type, message.text))
        page.on("pageerror", lambda error: self.console.append(str(error)))
        page.on("request", lambda request: self.asked.add(urlsplit(request.url).netloc))

    def _told(self, kind: str, text: str) -> None:
        if kind in ("error", "warning"):
            self.console.append(f"{kind}: {text}")
