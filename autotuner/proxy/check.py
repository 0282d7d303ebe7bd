"""What a proxy with this configuration would find and do: read and asked for, nothing started."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import aiohttp

from autotuner.proxy.config import ProxyConfig, options_of
from autotuner.proxy.engines.client import HttpClient, Reading
from autotuner.proxy.engines.config import CommandConfig, EngineConfig, KubernetesConfig
from autotuner.proxy.engines.flags import words_of
from autotuner.proxy.engines.kinds.base import KindName
from autotuner.proxy.engines.knobs import kind_of
from autotuner.proxy.ports import EngineKnob, Value

_LIMIT_S = 5.0  # chosen: for each answer of a server
_KINDS: Mapping[str, KindName] = {"vllm": "vllm", "sglang": "sglang"}


@dataclass(frozen=True)
class FoundServer:
    """A server as it answers now; `problem` is "" where it does."""

    name: str
    url: str
    kind: str
    version: str = ""
    model: str = ""
    problem: str = ""
    settings: Mapping[str, Value] | None = None


@dataclass(frozen=True)
class FoundKnob:
    """A knob as `GET /admin/settings` would show it, in words; `now` is "" where it isn't told."""

    name: str
    now: str
    may_be: str
    takes: str


@dataclass(frozen=True)
class Report:
    """`answers`: whether some server does."""

    listens: str
    servers: Sequence[FoundServer]
    knobs: Sequence[FoundKnob]
    notes: Sequence[str]

    @property
    def answers(self) -> bool:
        return any(not server.problem for server in self.servers)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self) | {"answers": self.answers}


def check_config(config: ProxyConfig) -> Report:
    """Asks every server what it is. Raises ConfigError for secrets that can't be read."""
    token = options_of(config).upstream_token
    return asyncio.run(_report(config, token))


async def _report(config: ProxyConfig, token: str | None) -> Report:
    engine = config.engine
    if engine is None:
        servers = await asyncio.gather(
            *(_guessed(b.backend.name, b.backend.url, token) for b in config.backends)
        )
        notes = ["restarts nothing: backends are run by others"]
    else:
        places = _places(engine)
        servers = await asyncio.gather(
            *(_found(name, url, engine.kind, token) for name, url in places)
        )
        notes = _notes(engine, servers)
    notes += [_told(server) for server in servers if server.settings]
    knobs = [*_live(config), *([] if engine is None else _restart(engine, servers))]
    return Report(f"{config.listen.host}:{config.listen.port}", servers, knobs, notes)


async def _guessed(name: str, url: str, token: str | None) -> FoundServer:
    """The kind is what the list of models says: both servers name themselves as its owner."""
    owner = await _owner(url, token)
    return await _found(name, url, _KINDS.get(owner, "openai"), token)


async def _found(name: str, url: str, kind: KindName, token: str | None) -> FoundServer:
    client = HttpClient(kind_of(kind), token)
    try:
        reading = await client.read(url, _LIMIT_S)
    finally:
        await client.close()
    if reading == Reading():
        return FoundServer(name, url, kind, problem=_SILENT)
    problem = "" if reading.model else "names no model under /v1/models"
    told = dict(reading.settings)
    return FoundServer(name, url, kind, reading.version, reading.model, problem, told)


async def _owner(url: str, token: str | None) -> str:
    """`owned_by` of the first model; "" where it isn't told."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    limit = aiohttp.ClientTimeout(total=_LIMIT_S)
    try:
        async with (
            aiohttp.ClientSession(headers=headers, timeout=limit) as session,
            session.get(f"{url}/v1/models") as answer,
        ):
            return str((await answer.json(content_type=None))["data"][0]["owned_by"])
    except (aiohttp.ClientError, TimeoutError, ValueError, LookupError, TypeError):
        return ""


_SILENT = "no answer"


def _told(server: FoundServer) -> str:
    settings = (server.settings or {}).items()
    return f"{server.name} runs with {', '.join(f'{k}={v}' for k, v in sorted(settings))}"


def _live(config: ProxyConfig) -> list[FoundKnob]:
    live = config.live
    return [
        FoundKnob("max_concurrency", str(live.max_concurrency), "1 to 4096", "acts at once"),
        FoundKnob("max_queue", str(live.max_queue), "0 to 65536", "acts at once"),
    ]


def _restart(engine: EngineConfig, servers: Sequence[FoundServer]) -> list[FoundKnob]:
    told = next((s.settings for s in servers if s.settings), {}) or {}
    settings = engine.first_settings()
    takes = "blue/green restart" if engine.mode == "blue_green" else "restart in place"
    return [
        FoundKnob(name, str(told.get(name, settings.get(name, ""))), _range(flag.knob), takes)
        for name, flag in engine.flags().items()
    ]


def _range(knob: EngineKnob) -> str:
    if knob.kind == "bool":
        return "true, false"
    if knob.kind == "choice":
        return ", ".join(map(str, knob.values))
    return f"{knob.least:.12g} to {knob.greatest:.12g}"


def _places(engine: EngineConfig) -> list[tuple[str, str]]:
    launcher = engine.launcher
    if launcher is None:
        return [("engine", engine.url)]
    if isinstance(launcher, KubernetesConfig):
        return [(one.name, one.url) for one in launcher.deployments]
    return [(str(port), f"http://{launcher.host}:{port}") for port in launcher.ports]


def _notes(engine: EngineConfig, servers: Sequence[FoundServer]) -> list[str]:
    launcher = engine.launcher
    if launcher is None:
        return ["restarts nothing: engine.url is run by others"]
    words = " ".join(words_of(engine.first_settings(), engine.flags()))
    if isinstance(launcher, CommandConfig):
        start = f"{' '.join(launcher.command)} {words}"
    elif isinstance(launcher, KubernetesConfig):
        start = f"the Deployment {launcher.deployments[0].name} with {words}"
    else:
        start = f"the unit {launcher.unit} with {words}"
    there = [server.url for server in servers if server.problem != _SILENT]
    notes = [f"would start: {start.strip()}"]
    if there:
        notes.append(f"something answers already at {', '.join(there)}")
    return notes
