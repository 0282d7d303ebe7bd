"""A changed configuration taken over by a running proxy; no request notices.

What is checked is the whole file: if anything in it is wrong, all stays as it was. Keys that only
a restart can change keep their old values and are named. A live knob is set only where the file
says something new: a value that the tuner chose outlives a reload.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import structlog

from autotuner.domain.errors import AutotunerError
from autotuner.proxy.config import ProxyConfig, options_of
from autotuner.proxy.options import ProxyOptions
from autotuner.proxy.ports import Backend

log = structlog.get_logger()

# In use from the start to the end; every other key is taken over.
FIXED_KEYS = ("listen", "engine", "exposure_ring", "connect_timeout_s")


class Reloadable(Protocol):
    """The running application."""

    def reload(self, options: ProxyOptions) -> None: ...


class Replaceable(Protocol):
    """Servers that others run: which ones they are may change."""

    def replace(self, backends: Sequence[Backend]) -> None: ...


Follower = Callable[[ProxyConfig], None]


@dataclass
class Reloader:
    """`config` is in force; `read` reads the file. `servers`: None where the proxy runs its own.

    `followers` hear of each configuration that was taken over: they must not raise.
    """

    config: ProxyConfig
    read: Callable[[], ProxyConfig]
    app: Reloadable
    servers: Replaceable | None
    followers: list[Follower] = field(default_factory=list)

    def reload(self) -> str:
        """What became of it, in a sentence, which is logged as well."""
        try:
            wanted = self.read()
            config = self._in_force(wanted)
            options = options_of(config)
        except AutotunerError as problem:
            said = f"reload refused, the old configuration runs on: {problem}"
            log.error("reload", ok=False, said=said)
            return said
        taken, needs_restart = changed_keys(self.config, config), changed_keys(config, wanted)
        if self.servers is not None:
            self.servers.replace([one.backend for one in config.backends])
        self.app.reload(options)
        self.config = config
        for follower in self.followers:
            follower(config)
        said = _sentence(taken, needs_restart)
        (log.warning if needs_restart else log.info)("reload", ok=True, said=said)
        return said

    def _in_force(self, wanted: ProxyConfig) -> ProxyConfig:
        fixed = [*FIXED_KEYS] if wanted.backends and self.servers else [*FIXED_KEYS, "backends"]
        return wanted.model_copy(update={key: getattr(self.config, key) for key in fixed})


def changed_keys(old: ProxyConfig, new: ProxyConfig) -> list[str]:
    """Dotted names of the keys that differ; no values, since one may name a secret."""
    before, after = old.model_dump(), new.model_dump()
    return [
        name
        for key in ProxyConfig.model_fields
        if before[key] != after[key]
        for name in _dotted(key, before[key], after[key])
    ]


def _dotted(key: str, before: Any, after: Any) -> list[str]:
    if isinstance(before, dict) and isinstance(after, dict):
        return [f"{key}.{name}" for name in after if before.get(name) != after[name]]
    return [key]


def _sentence(taken: Sequence[str], needs_restart: Sequence[str]) -> str:
    told = [f"taken over: {', '.join(taken)}"] if taken else []
    if needs_restart:
        told.append(f"needs a restart, the old value stays: {', '.join(needs_restart)}")
    return "configuration reloaded; " + ("; ".join(told) or "nothing differs")
