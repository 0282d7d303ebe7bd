"""Restarts, deaths and reloads under requests, over real sockets, with engines a test decides."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest
import requests

from autotuner.proxy.app import ProxyApp, make_app
from autotuner.proxy.fixed import FixedEngines
from autotuner.proxy.options import ProxyOptions
from autotuner.proxy.ports import Backend, EngineEvent, EngineFailedError, Fault, InFlight, Value
from tests.integration.proxy_core.conftest import PATIENCE_S, Proxied, eventually
from tests.integration.proxy_core.serving import OddServer, Talk, event, serving
from tests.unit.proxy.core_engines import FakeEngines

pytestmark = pytest.mark.process

STREAM = {"prompt": "abcd", "stream": True}
DONE = b"data: [DONE]\n\n"


class Gated:
    """Streams one event, and the rest once it is let go."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._go = threading.Event()

    def let_go(self) -> None:
        self._go.set()

    async def __call__(self, talk: Talk) -> None:
        if talk.asked.method == "GET":
            await talk.whole(b"")
            return
        await talk.stream()
        await talk.chunk(event(f"{self.name} begins"))
        while not self._go.is_set():
            await asyncio.sleep(0.01)
        await talk.chunk(event(f"{self.name} ends", finish_reason="stop") + DONE)
        await talk.finish()


class SwitchingEngines(FakeEngines):
    """Brings the server at `new` up in place of the old one."""

    new: str

    async def _change(self, settings: Mapping[str, Value], switch: Any) -> None:
        if self.gate is not None:
            await self.gate.wait()
        self.restart(settings)
        self.values = {**self.values, **settings}
        self.urls = [self.new]
        await switch(self.backends())


@dataclass
class House:
    proxy: Proxied
    engines: SwitchingEngines
    old: Gated
    new: Gated
    loop: asyncio.AbstractEventLoop

    def settings(self) -> dict[str, Any]:
        told = requests.get(f"{self.proxy.url}/admin/settings", timeout=PATIENCE_S).json()
        assert isinstance(told, dict)
        return told

    def put(self, **settings: Any) -> requests.Response:
        body = {"generation": self.settings()["generation"], "settings": settings}
        return requests.put(f"{self.proxy.url}/admin/settings", json=body, timeout=PATIENCE_S)


@contextlib.contextmanager
def house(**how: Any) -> Iterator[House]:
    old, new = Gated("old"), Gated("new")
    servers = [OddServer(old), OddServer(new)]
    made: list[SwitchingEngines] = []
    with contextlib.ExitStack() as ends:
        urls = [ends.enter_context(server.running()) for server in servers]

        def engines_of(in_flight: InFlight) -> SwitchingEngines:
            made.append(SwitchingEngines(in_flight.hold, urls=urls[:1], **how))
            made[0].new = urls[1]
            return made[0]

        app = make_app(ProxyOptions(drain_s=PATIENCE_S), engines_of)
        url = ends.enter_context(serving(app))
        ends.callback(old.let_go)
        ends.callback(new.let_go)
        eventually(lambda: requests.get(f"{url}/health", timeout=60).ok)
        assert app._running is not None
        loop = app._running.get_loop()
        yield House(Proxied(url, app, servers), made[0], old, new, loop)
    assert made[0].closed


def test_blue_green_old_requests_end_on_the_old_server_and_new_ones_go_to_the_new() -> None:
    with house() as home:
        before = home.proxy.post(STREAM, stream=True)
        told = home.put(max_num_seqs=64).json()
        assert (told["settings"]["max_num_seqs"], told["generation"]) == (64, 2)
        home.new.let_go()
        assert b"new ends" in home.proxy.post(STREAM).content
        assert home.proxy.exposures(1)[0]["generation_start"] == 2
        home.old.let_go()
        assert b"old ends" in before.content
        exposure = home.proxy.exposures(2)[1]
        assert (exposure["generation_start"], exposure["generation_end"]) == (1, 2)
        assert exposure["outcome"] == "stop"
        page = requests.get(f"{home.proxy.url}/metrics", timeout=60).text
        assert 'proxy:engine_restarts_total{outcome="switched"} 1.0' in page
        assert "proxy:settings_generation 2.0" in page


def test_in_place_requests_wait_for_the_new_server() -> None:
    with house(in_place=True) as home, ThreadPoolExecutor(3) as threads:
        before = home.proxy.post(STREAM, stream=True)
        changing = threads.submit(home.put, max_num_seqs=64)
        eventually(lambda: home.proxy.app._traffic.admission.held)
        later = threads.submit(home.proxy.post, STREAM)
        eventually(lambda: home.proxy.app._traffic.admission.waiting == 1)
        assert home.settings()["generation"] == 1
        home.old.let_go()  # the last one inside: now the server may restart
        assert b"old ends" in before.content
        assert changing.result(PATIENCE_S).status_code == 200
        home.new.let_go()
        assert b"new ends" in later.result(PATIENCE_S).content
        first, second = home.proxy.exposures(2)
        assert (first["generation_start"], first["generation_end"]) == (1, 1)
        assert second["generation_start"] == 2  # as it was admitted
        assert second["queue_s"] > 0.0


def test_an_engine_that_fails_is_told_with_its_fault_and_the_old_one_serves() -> None:
    def fail(_: Mapping[str, Value]) -> None:
        raise EngineFailedError(Fault.START_KV, "no room for the KV cache")

    with house(restart=fail) as home:
        answer = home.put(max_num_seqs=1024)
        assert answer.status_code == 422
        error = answer.json()["error"]
        assert (error["type"], error["fault"]) == ("engine_failed", "start-kv")
        home.old.let_go()
        assert b"old ends" in home.proxy.post(STREAM).content
        assert home.settings()["settings"]["max_num_seqs"] == 256


def test_a_death_is_an_outage_then_a_new_boot_with_the_fault_told() -> None:
    with house() as home:
        boot = home.settings()["boot_id"]
        home.engines.down = "the server died: CUDA out of memory"
        died = EngineEvent("died", Fault.RUN_MEMORY, "CUDA out of memory")
        home.loop.call_soon_threadsafe(home.engines.on_event, died)
        eventually(lambda: home.settings()["boot_id"] != boot)
        assert requests.get(f"{home.proxy.url}/health", timeout=60).status_code == 503
        refused = home.proxy.post(STREAM)
        assert (refused.status_code, refused.headers["Retry-After"]) == (503, "5")
        assert home.proxy.exposures(1)[0]["outcome"] == "rejected"
        (fault,) = home.settings()["faults"]
        assert (fault["fault"], fault["settings"]["max_num_seqs"]) == ("run-memory", 256)
        home.engines.down = None
        home.old.let_go()
        assert b"old ends" in home.proxy.post(STREAM).content


def test_a_server_that_does_not_start_is_started_again() -> None:
    failed: list[Exception] = [EngineFailedError(Fault.PORT, "taken"), OSError("no such program")]
    with house(starts=failed) as home:
        assert failed == []
        assert home.settings()["generation"] == 1


def test_before_it_starts_nothing_is_known() -> None:
    made: list[FakeEngines] = []

    class Waiting(FakeEngines):
        async def start(self) -> None:
            await asyncio.Event().wait()

    def engines_of(in_flight: InFlight) -> FakeEngines:
        made.append(Waiting(in_flight.hold, down="the server is loading"))
        return made[0]

    with serving(make_app(ProxyOptions(), engines_of)) as url:
        for path in ("/health", "/admin/settings"):
            answer = requests.get(url + path, timeout=60)
            assert answer.status_code == 503
            assert "loading" in answer.text
        assert requests.post(f"{url}/v1/completions", json=STREAM, timeout=60).status_code == 503
        told = requests.get(f"{url}/admin/exposures", timeout=60).json()["exposures"]
        assert [one["outcome"] for one in told] == ["rejected"]
    assert made[0].closed


def quick(name: str) -> Callable[[Talk], Any]:
    async def script(talk: Talk) -> None:
        await talk.whole({"id": name, "choices": [{"finish_reason": "stop"}]})

    return script


def test_a_server_that_refuses_connections_is_left_out() -> None:
    with contextlib.ExitStack() as ends:
        alive = OddServer(quick("alive"))
        with OddServer(quick("gone")).running() as gone:
            pass
        backends = [Backend(gone, "gone"), Backend(ends.enter_context(alive.running()), "alive")]
        app = make_app(ProxyOptions(backend_rest_s=600.0), lambda _: FixedEngines(backends))
        url = ends.enter_context(serving(app))
        eventually(lambda: requests.get(f"{url}/health", timeout=60).ok)
        proxy = Proxied(url, app, [alive])
        for _ in range(4):
            assert proxy.post({"prompt": "a"}).json()["id"] == "alive"
        gone_load, _ = app._traffic.pool._loads
        assert (gone_load.served, gone_load.in_flight) == (1, 0)


def test_a_reload_takes_over_backends_weights_and_new_first_values() -> None:
    with contextlib.ExitStack() as ends:
        urls = [ends.enter_context(OddServer(quick(name)).running()) for name in "ab"]
        fixed = FixedEngines([Backend(urls[0], "a")])
        app: ProxyApp = make_app(ProxyOptions(), lambda _: fixed)
        url = ends.enter_context(serving(app))
        eventually(lambda: requests.get(f"{url}/health", timeout=60).ok)
        proxy = Proxied(url, app, [])
        assert proxy.post({"prompt": "x"}).json()["id"] == "a"
        fixed.replace([Backend(urls[0], "a"), Backend(urls[1], "b")])
        assert app._running is not None
        options = ProxyOptions(weights={"a": 0.0}, max_queue=7)
        app._running.get_loop().call_soon_threadsafe(app.reload, options)
        eventually(lambda: app._traffic.options is options)
        assert [proxy.post({"prompt": "x"}).json()["id"] for _ in range(3)] == ["b", "b", "b"]
        told = requests.get(f"{url}/admin/settings", timeout=60).json()
        assert (told["settings"]["max_queue"], told["generation"]) == (7, 2)
