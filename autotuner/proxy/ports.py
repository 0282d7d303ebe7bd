"""What the proxy asks of whoever runs the server behind it, and the words that both use for it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal, Protocol

Value = int | float | str | bool


@dataclass(frozen=True)
class Backend:
    """One server that takes requests: its base URL without a trailing slash, its name for logs."""

    url: str
    name: str


@dataclass(frozen=True)
class Server:
    """What answers behind the proxy, as probed; `model` is the name that it serves, "" unknown."""

    kind: Literal["vllm", "sglang", "openai"]
    version: str = ""
    model: str = ""


@dataclass(frozen=True)
class EngineKnob:
    """A setting that takes a restart; `name` is the server's own flag with underscores.

    `least` and `greatest` bound an int or a float; `values` are those of a choice.
    """

    name: str
    kind: Literal["int", "float", "choice", "bool"]
    least: float | None = None
    greatest: float | None = None
    values: tuple[Value, ...] = ()
    changes_answers: bool = False


class Fault(StrEnum):
    """Why an engine did not start, or died."""

    START_MEMORY = "start-memory"  # weights or buffers do not fit at start
    START_KV = "start-kv"  # weights fit, no room is left for the KV cache
    RUN_MEMORY = "run-memory"  # out of memory while serving, after a healthy start
    KILLED = "killed"  # SIGKILL, exit 137, the kernel's OOM killer: host memory
    REFUSED = "refused"  # the server refuses a flag or a combination
    PORT = "port"  # its port is taken
    LAUNCH = "launch"  # whoever runs it (systemd, Kubernetes, the system) did not do it
    CRASHED = "crashed"  # ended for another reason
    HUNG = "hung"  # not ready in time, or stopped answering

    @property
    def of_the_settings(self) -> bool:
        """Whether the settings are to blame; a port that is taken is not their fault."""
        return self not in {Fault.PORT, Fault.LAUNCH}


class EngineFailedError(Exception):
    """The new engine failed and the OLD settings are in force again; the message says why."""

    def __init__(self, fault: Fault, message: str) -> None:
        super().__init__(message)
        self.fault, self.message = fault, message


@dataclass(frozen=True)
class EngineEvent:
    """What happened to the server without a PUT.

    `edited`: somebody else set other values; `restarted`: the same ones, a new process. `died`:
    requests can no longer be served; the restart that cures it is another event: `restarted`, or
    `reverted` where settings that served before run again.
    """

    kind: Literal["died", "restarted", "edited", "reverted"]
    fault: Fault | None
    message: str


# Entered: no request is sent any more and those in flight have ended (or their time to drain has).
# Left: requests go on. A restart in place happens inside of it.
Hold = Callable[[], AbstractAsyncContextManager[None]]
Switch = Callable[[Sequence[Backend]], Awaitable[None]]


class InFlight(Protocol):
    """The requests that are at the servers, as whoever runs those may know and hold them."""

    def hold(
        self, enough: Callable[[], Awaitable[None]] | None = None
    ) -> AbstractAsyncContextManager[None]:
        """A `Hold`; where `enough` returns, those in flight are waited for no longer."""

    def silent_s(self, backend: Backend) -> float:
        """For how long requests have been there and not one byte came; 0 while none is there."""


class Engines(Protocol):
    """Who runs the server behind the proxy."""

    def knobs(self) -> Mapping[str, EngineKnob]:
        """The settings that a restart can change; empty where nothing can be restarted."""

    def settings(self) -> Mapping[str, Value]:
        """What really runs, as probed."""

    def server(self) -> Server:
        """What kind of server runs."""

    def backends(self) -> Sequence[Backend]:
        """Where requests go now."""

    def outage(self) -> str | None:
        """Why no request can be served now; None while one can."""

    async def start(self) -> None:
        """Adopts a running server, or starts one."""

    async def change(self, settings: Mapping[str, Value], switch: Switch) -> None:
        """Brings up a server with these settings (all restart knobs) in place of the old one.

        Calls `switch` once: when the new server is ready (blue/green; it returns when requests go
        to the new one and those on the old one have ended or run out of time), or when traffic
        may go on (in place). Raises EngineFailedError when the old settings are in force again.
        """

    async def watch(self, on_event: Callable[[EngineEvent], None]) -> None:
        """Runs for ever: deaths, restarts by others, edits by hand."""

    async def close(self) -> None:
        """Lets go of the server, and ends it where the proxy owns it."""
