"""What the manager asks of a way to run a server, and the values that both exchange."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Place:
    """Where one server can run: a port, a unit or a Deployment; `url` is where it will answer."""

    name: str
    url: str
    port: int


@dataclass(frozen=True)
class Exit:
    """How a run ended: its status, or the signal that ended it; `said` is the keeper's word."""

    status: int | None = None
    signal: int | None = None
    out_of_memory: bool = False
    said: str = ""


@dataclass(frozen=True)
class State:
    """What runs at a place now.

    `identity` names one run and no other (a process and its start, an invocation, a pod).
    `exit` tells of the last run that ended by itself: of this place's only one, or, where a keeper
    has started another since, of the one before.
    """

    running: bool
    identity: str | None = None
    exit: Exit | None = None


NOTHING = State(running=False)


class LaunchError(Exception):
    """The keeper of the server (systemd, Kubernetes, the system) did not do what was asked."""


class Launcher(Protocol):
    """One way to run servers. Every call is bounded in time; all may raise LaunchError."""

    def places(self) -> Sequence[Place]:
        """Where a server can run: one, or two of which one serves while the other starts."""

    def elsewhere(self, place: Place) -> Place | None:
        """Another port for a place whose port is taken; None where that can't be chosen."""

    async def start(self, place: Place, words: Sequence[str]) -> None:
        """Starts a server there with these flags; returns before it is ready."""

    async def stop(self, place: Place) -> None:
        """Ends what runs there, all of its processes; no error where nothing does."""

    async def state(self, place: Place) -> State:
        """What runs there now."""

    async def recall(self, place: Place, identity: str) -> bool:
        """Takes over a run that an earlier process of ours started, if it still is that one."""

    async def log(self, place: Place, identity: str | None) -> Sequence[str]:
        """The last lines of that run, oldest first; of the last one there without an identity."""

    async def command_line(self, place: Place) -> Sequence[str]:
        """The words that the running server was started with; empty where they can't be read."""

    async def close(self) -> None:
        """Ends what must not outlive the proxy, and lets go of the rest."""
