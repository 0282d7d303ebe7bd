"""Runs the server as a systemd unit; its flags stand in one variable of an environment file.

The unit has `EnvironmentFile=` with that file and the variable, unbraced, in `ExecStart=`. A
template (vllm@.service) has an instance for each port; a plain unit has one place.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from autotuner.proxy.engines.launchers.envfile import one_variable, write_environment
from autotuner.proxy.engines.launchers.port import Exit, LaunchError, Place, State
from autotuner.proxy.engines.launchers.processes import words_of_process
from autotuner.proxy.engines.launchers.runner import Said, run

_SHOW_S = 10.0  # chosen: a question to the manager is answered at once, or it is stuck
_PROPERTIES = (
    "ActiveState,SubState,Result,ExecMainCode,ExecMainStatus,MainPID,InvocationID,NRestarts"
)
_LOG_LINES = 400
_CLD_KILLED = {"2", "3"}  # waitid(2): killed, dumped core


@dataclass(frozen=True)
class SystemdOptions:
    """`unit` and `environment_file` may hold {port}. `stop_s` bounds start and stop jobs alike."""

    unit: str
    ports: tuple[int, ...]
    environment_file: str
    variable: str = "AUTOTUNER_FLAGS"
    host: str = "127.0.0.1"
    user: bool = False
    stop_s: float = 120.0


class SystemdLauncher:
    """A Launcher through `systemctl` and `journalctl`."""

    def __init__(self, options: SystemdOptions) -> None:
        self._options = options
        self._since: dict[str, float] = {}
        self._restarts: dict[str, int] = {}

    def places(self) -> Sequence[Place]:
        options = self._options
        return [
            Place(options.unit.replace("{port}", str(p)), f"http://{options.host}:{p}", p)
            for p in options.ports
        ]

    def elsewhere(self, place: Place) -> Place | None:
        del place
        return None  # the unit has its port

    async def start(self, place: Place, words: Sequence[str]) -> None:
        path = Path(self._options.environment_file.replace("{port}", str(place.port)))
        write_environment(path, {self._options.variable: one_variable(words)})
        # A unit that failed often is held back by its start limit until it is forgiven.
        await self._systemctl("reset-failed", place.name)
        self._since[place.name] = time.time()
        self._restarts[place.name] = 0  # where systemd starts to count
        said = await self._systemctl("restart", place.name)
        if said.status:
            raise LaunchError(f"systemctl restart {place.name}: {said.err.strip()}")

    async def stop(self, place: Place) -> None:
        said = await self._systemctl("stop", place.name)
        if said.status:
            raise LaunchError(f"systemctl stop {place.name}: {said.err.strip()}")
        self._restarts.pop(place.name, None)

    async def state(self, place: Place) -> State:
        shown = await self._show(place)
        restarts = int(shown.get("NRestarts") or 0)
        before = self._restarts.setdefault(place.name, restarts)
        self._restarts[place.name] = restarts
        running = (
            shown.get("ActiveState") in {"active", "activating", "reloading"}
            and shown.get("SubState") != "auto-restart"
        )
        ended = None if running else _exit(shown)
        # systemctl restart by hand sets the count back; only its own restarts raise it. What it
        # tells of the main process is then already the new one's.
        if running and restarts > before:
            ended = _exit(shown) or Exit(said="systemd has started it again after it ended")
        return State(running, shown.get("InvocationID") or None, ended)

    async def recall(self, place: Place, identity: str) -> bool:
        state = await self.state(place)
        return state.running and state.identity == identity

    async def log(self, place: Place, identity: str | None) -> Sequence[str]:
        """By invocation where it is known: no line of an earlier run is taken for this one's."""
        which = [f"_SYSTEMD_INVOCATION_ID={identity}"] if identity else ["-u", place.name]
        since = self._since.get(place.name)
        if since and not identity:
            which += ["--since", f"@{since:.0f}"]
        user = ["--user"] if self._options.user else []
        asked = ["journalctl", *user, *which, "-o", "cat", "-n", str(_LOG_LINES), "--no-pager"]
        try:
            said = await run(asked, _SHOW_S)
        except LaunchError:
            return ()  # the fault is then told by the exit alone
        return said.out.splitlines()

    async def command_line(self, place: Place) -> Sequence[str]:
        pid = int((await self._show(place)).get("MainPID") or 0)
        return words_of_process(pid) if pid else ()

    async def close(self) -> None:
        """The unit is systemd's: it stays."""

    async def _show(self, place: Place) -> dict[str, str]:
        said = await self._systemctl("show", place.name, f"--property={_PROPERTIES}", limit=_SHOW_S)
        if said.status:
            raise LaunchError(f"systemctl show {place.name}: {said.err.strip()}")
        pairs = (line.partition("=") for line in said.out.splitlines())
        return {name: value for name, equals, value in pairs if equals}

    async def _systemctl(self, *words: str, limit: float | None = None) -> Said:
        user = ["--user"] if self._options.user else []
        return await run(["systemctl", *user, *words], limit or self._options.stop_s)


def _exit(shown: dict[str, str]) -> Exit | None:
    """How the main process ended; None where it did not."""
    result = shown.get("Result", "")
    if result == "success" and shown.get("ExecMainCode") in {None, "", "0"}:
        return None
    number = int(shown.get("ExecMainStatus") or 0)
    killed = shown.get("ExecMainCode") in _CLD_KILLED
    return Exit(
        status=None if killed else number,
        signal=number if killed else None,
        out_of_memory=result == "oom-kill",
        said="" if result == "success" else f"systemd says {result}",
    )
