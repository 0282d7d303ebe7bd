"""What runs now and why nothing does, kept on record: the manager's memory, without its acts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import structlog

from autotuner.proxy.engines.clock import Clock
from autotuner.proxy.engines.kinds.base import Kind
from autotuner.proxy.engines.launchers.port import Place
from autotuner.proxy.engines.record import Record, Standing, Store
from autotuner.proxy.engines.safety import Track, proven
from autotuner.proxy.engines.starting import Up
from autotuner.proxy.ports import Backend, Server, Value

log = structlog.get_logger()


class Site:
    """One server's place in the world. `outage` is None while requests can be served."""

    def __init__(
        self, kind: Kind, store: Store, clock: Clock, configured: Mapping[str, Value], first: Place
    ) -> None:
        self._store, self._clock, self._kind = store, clock, kind
        self._record = Record()
        self._first = first
        self._served_since = 0.0
        self.track = Track(configured, None, configured)
        self.server = Server(kind.name)
        self.outage: str | None = "the server has not started yet"

    @property
    def active(self) -> Standing | None:
        return self._record.active

    @property
    def place(self) -> Place:
        """Where the server runs, or is to run."""
        return self.active.place if self.active else self._first

    @property
    def backends(self) -> tuple[Backend, ...]:
        return (backend_of(self.place),)

    def restore(self) -> Record:
        """The record of an earlier life; its settings go on, unless the configuration changed."""
        record = self._store.load()
        configured = self.track.configured
        if record.configured == configured and record.active:
            current = _complete(record.active.settings, configured)
            safe = _complete(record.safe, configured) if record.safe else None
            self.track = Track(current, safe, configured)
        self._record = replace(record, safe=self.track.safe, configured=configured)
        return record

    def intend(self, standing: Standing) -> None:
        """On record before the act; raises OSError, and then nothing has been done."""
        record = replace(self._record, other=standing)
        self._store.save(record)
        self._record = record

    def forget(self) -> None:
        """What was intended is done, or is given up."""
        self._keep(replace(self._record, other=None))

    def abandon(self) -> None:
        """Nothing runs that could take requests."""
        self._keep(replace(self._record, active=None, other=None))

    def serves(self, up: Up, *, leaving: Standing | None = None) -> None:
        """The server takes the requests from now on; `leaving` is still to be ended."""
        standing = up.standing
        self._served_since = self._clock.now()
        self.track = replace(self.track, current=standing.settings)
        self.server = Server(self._kind.name, up.reading.version, up.reading.model)
        self.outage = None
        self._keep(replace(self._record, active=standing, other=leaving))

    def down(self, why: str) -> None:
        self.outage = why
        log.error("engine.down", said=why)

    def ripen(self, healthy_s: float) -> None:
        """Settings that have served well for long enough are the safe ones."""
        track = proven(self.track, self._clock.now() - self._served_since, healthy_s)
        if track is not self.track:
            self.track = track
            self._keep(replace(self._record, safe=track.safe))

    def _keep(self, record: Record) -> None:
        self._record = record
        try:
            self._store.save(record)
        except OSError as problem:  # the act is done; a later write tells of it
            log.warning("engine.record", problem=str(problem))


def backend_of(place: Place) -> Backend:
    return Backend(place.url, place.name)


def _complete(settings: Mapping[str, Value], configured: Mapping[str, Value]) -> dict[str, Value]:
    return {name: settings.get(name, value) for name, value in configured.items()}
