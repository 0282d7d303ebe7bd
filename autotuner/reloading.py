"""A changed configuration taken over by a running service: checked as a whole, then applied.

What a target is made of decides whether its daemon is touched: one whose part of the configuration
is as before goes on with its test. Knows no concrete class: others build.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import structlog

from autotuner.config import Config, TargetConfig
from autotuner.daemon import Daemon
from autotuner.domain.errors import AutotunerError
from autotuner.service import Job, Service

log = structlog.get_logger()

# Taken over by a reload; every other key is in use from the start to the end.
LIVE_KEYS = frozenset(
    {"targets", "cycle_s", "webhooks", "alertmanagers", "chats", "log", "keep", "keep_days"}
)


@dataclass(frozen=True)
class TargetParts:
    """One target's daemon and jobs, and what they were made of."""

    made_of: tuple[object, ...]
    daemon: Daemon
    jobs: tuple[Job, ...]


class Builder(Protocol):
    """Builds the parts of a service; raises AutotunerError for what can't be built."""

    def made_of(self, config: Config, target: TargetConfig) -> tuple[object, ...]: ...
    def of_target(self, config: Config, target: TargetConfig) -> TargetParts: ...
    def common_jobs(self, config: Config) -> list[Job]: ...


@dataclass(frozen=True)
class Changes:
    """What differs between two configurations; targets by name, `needs_restart` by dotted key."""

    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    live_keys: tuple[str, ...] = ()
    needs_restart: tuple[str, ...] = ()

    def __str__(self) -> str:
        told = [
            f"{word} {', '.join(names)}"
            for word, names in (
                ("targets added:", self.added),
                ("removed:", self.removed),
                ("changed:", self.changed),
                ("taken over:", self.live_keys),
                ("needs a restart:", self.needs_restart),
            )
            if names
        ]
        return "; ".join(told) or "nothing differs"


@dataclass(frozen=True)
class Outcome:
    """What became of a reload; times in s since the epoch."""

    at: float
    ok: bool
    said: str
    needs_restart: tuple[str, ...] = ()


@dataclass
class Reloader:
    """`config` and `parts` are in force; `read` reads the file. `followers` hear of each change."""

    config: Config
    parts: Mapping[str, TargetParts]
    builder: Builder
    read: Callable[[], Config]
    followers: list[Callable[[Config], None]] = field(default_factory=list)
    last: Outcome | None = None

    def reload(self, service: Service) -> str:
        """What became of it, in a sentence. If anything is wrong, all stays as it was."""
        try:
            wanted = self.read()
            if service.leading is not None and not service.leading.leads():
                return self._kept(self._in_force(wanted))
            changes, parts, common = self._prepared(service, wanted)
        except AutotunerError as problem:
            return self._told(False, f"reload refused, the old configuration runs on: {problem}")
        self._take_over(service, self._in_force(wanted), parts, common)
        return self._told(True, f"configuration reloaded: {changes}", changes.needs_restart)

    def _kept(self, config: Config) -> str:
        """Standing by: checked, and used from the moment when this process leads."""
        for target in config.targets:
            self.builder.made_of(config, target)
        self.config = config
        self._tell_followers(config)
        return self._told(True, "configuration read; its targets begin when this daemon leads")

    def told(self) -> Mapping[str, Any]:
        """What /health shows of the last reload; empty before the first."""
        last = self.last
        if last is None:
            return {}
        return {
            "at": last.at, "ok": last.ok, "said": last.said,
            "needs_restart": list(last.needs_restart),
        }  # fmt: skip

    def _prepared(
        self, service: Service, wanted: Config
    ) -> tuple[Changes, dict[str, TargetParts], list[Job]]:
        """Everything built that may fail, and nothing touched yet."""
        config = self._in_force(wanted)
        made = {t.name: self.builder.made_of(config, t) for t in config.targets}
        changes = compared(self.config, wanted, {n: p.made_of for n, p in self.parts.items()}, made)
        common = self.builder.common_jobs(config)
        parts = dict(self.parts)
        for target in config.targets:
            if target.name in changes.added or target.name in changes.changed:
                # Between two cycles, since a daemon is built from what the one before it has kept.
                with service.turn(target.name):
                    parts[target.name] = self.builder.of_target(config, target)
        return changes, {target.name: parts[target.name] for target in config.targets}, common

    def _take_over(
        self,
        service: Service,
        config: Config,
        parts: dict[str, TargetParts],
        common: list[Job],
    ) -> None:
        jobs = [job for one in parts.values() for job in one.jobs]
        service.exchange([one.daemon for one in parts.values()], [*jobs, *common], config.cycle_s)
        for one in parts.values():
            one.daemon.watch.send_to(config.receivers)
        self.config, self.parts = config, parts
        self._tell_followers(config)

    def _tell_followers(self, config: Config) -> None:
        for follower in self.followers:
            try:
                follower(config)
            except Exception:
                # The targets run with the new configuration already: the others must hear of it.
                log.exception("reload.follower_failed")

    def _in_force(self, wanted: Config) -> Config:
        """What is wanted, save for the keys that a restart alone can change."""
        kept = {
            key: getattr(self.config, key) for key in Config.model_fields if key not in LIVE_KEYS
        }
        return wanted.model_copy(update=kept)

    def _told(self, ok: bool, said: str, needs_restart: tuple[str, ...] = ()) -> str:
        self.last = Outcome(time.time(), ok, said, needs_restart)
        (log.info if ok else log.error)("reload", ok=ok, said=said)
        return said


def compared(
    old: Config,
    new: Config,
    were: Mapping[str, tuple[object, ...]],
    are: Mapping[str, tuple[object, ...]],
) -> Changes:
    """What differs. `were` and `are`: what each target was made of, and would be, by its name."""
    before, after = old.model_dump(), new.model_dump()
    differing = [key for key in Config.model_fields if before[key] != after[key]]
    live = [key for key in differing if key in LIVE_KEYS and key != "targets"]
    fixed = [key for key in differing if key not in LIVE_KEYS]
    return Changes(
        added=tuple(name for name in are if name not in were),
        removed=tuple(name for name in were if name not in are),
        changed=tuple(name for name in are if name in were and are[name] != were[name]),
        live_keys=tuple(live),
        needs_restart=tuple(k for key in fixed for k in _dotted(key, before[key], after[key])),
    )


def _dotted(key: str, before: Any, after: Any) -> list[str]:
    """Names alone: a value may hold a secret."""
    if isinstance(before, dict) and isinstance(after, dict):
        return [f"{key}.{name}" for name in after if before.get(name) != after[name]]
    return [key]
