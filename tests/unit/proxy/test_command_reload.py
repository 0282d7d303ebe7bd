"""A reload: what is taken over, what waits for a restart, and what changes nothing at all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from autotuner.config.model import parse
from autotuner.domain.errors import ConfigError
from autotuner.proxy.config import ProxyConfig, options_of
from autotuner.proxy.options import ProxyOptions
from autotuner.proxy.ports import Backend
from autotuner.proxy.reload import Reloader


def config(**told: Any) -> ProxyConfig:
    return parse(ProxyConfig, {"backends": [{"url": "http://a:1"}]} | told, "test")


@dataclass
class App:
    came: list[ProxyOptions] = field(default_factory=list)

    def reload(self, options: ProxyOptions) -> None:
        self.came.append(options)


@dataclass
class Servers:
    backends: list[Sequence[Backend]] = field(default_factory=list)

    def replace(self, backends: Sequence[Backend]) -> None:
        self.backends.append(backends)


@dataclass
class Bench:
    before: ProxyConfig
    after: ProxyConfig | ConfigError
    app: App = field(default_factory=App)
    servers: Servers = field(default_factory=Servers)
    heard: list[ProxyConfig] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.reloader = Reloader(
            self.before, self.read, self.app, self.servers, [self.heard.append]
        )

    def read(self) -> ProxyConfig:
        if isinstance(self.after, ConfigError):
            raise self.after
        return self.after


def test_backends_weights_and_limits_are_taken_over() -> None:
    after = config(
        backends=[{"url": "http://a:1", "weight": 3}, {"url": "http://b:1"}],
        live={"max_queue": 9},
        drain_s=7,
    )
    it = Bench(config(), after)
    said = it.reloader.reload()
    assert it.app.came == [options_of(after)]
    assert [b.name for b in it.servers.backends[0]] == ["a:1", "b:1"]
    assert it.heard == [after]
    assert it.reloader.config == after
    for name in ("backends", "live.max_queue", "drain_s"):
        assert name in said
    assert "restart" not in said


def test_what_needs_a_restart_keeps_its_value_and_is_named() -> None:
    before = config()
    it = Bench(before, config(listen={"port": 1}, exposure_ring=500, usage="leave"))
    said = it.reloader.reload()
    assert it.reloader.config == before.model_copy(update={"usage": "leave"})
    assert it.app.came[0].exposure_ring == before.exposure_ring
    assert "taken over: usage" in said
    assert "needs a restart, the old value stays: listen.port, exposure_ring" in said
    # It is still wanted: the next reload says so again.
    assert "listen.port" in it.reloader.reload()


def test_a_file_that_is_wrong_changes_nothing() -> None:
    before = config()
    it = Bench(before, ConfigError("proxy.yaml: usage='x': mend it"))
    said = it.reloader.reload()
    assert "reload refused, the old configuration runs on" in said
    assert "usage='x'" in said
    assert (it.app.came, it.servers.backends, it.heard) == ([], [], [])
    assert it.reloader.config == before


def test_a_secret_that_can_not_be_read_changes_nothing() -> None:
    it = Bench(config(), config(upstream_token_file="/nowhere/token"))
    assert "upstream_token_file" in it.reloader.reload()
    assert it.app.came == []


def test_the_same_file_again_changes_nothing_that_the_tuner_set() -> None:
    """The options say what they said before: the application tells a new value by that."""
    before = config(live={"max_concurrency": 8})
    it = Bench(before, before)
    assert "nothing differs" in it.reloader.reload()
    assert it.app.came == [options_of(before)]


def test_from_backends_to_an_engine_takes_a_restart() -> None:
    before = config()
    engine = parse(ProxyConfig, {"engine": {"kind": "vllm", "url": "http://a:1"}}, "test")
    it = Bench(before, engine)
    said = it.reloader.reload()
    assert it.reloader.config == before
    assert "needs a restart, the old value stays: backends, engine" in said
    assert [b.name for b in it.servers.backends[0]] == ["a:1"]


def test_an_engine_stays_as_it_is_and_the_rest_is_taken_over() -> None:
    def told(**changes: object) -> ProxyConfig:
        engine = {"kind": "vllm", "url": "http://a:1"}
        return parse(ProxyConfig, {"engine": engine} | changes, "test")

    app = App()
    after = told(engine={"kind": "sglang", "url": "http://a:1"}, live={"max_queue": 3})
    reloader = Reloader(told(), lambda: after, app, servers=None)
    said = reloader.reload()
    assert app.came[0].max_queue == 3
    assert reloader.config == told(live={"max_queue": 3})
    assert "engine.kind" in said
