"""Runs the server as a child of the proxy, through the guard, which lets nothing of it stay."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import platform
import secrets
import signal
import socket
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from autotuner.proxy.engines.launchers import guard
from autotuner.proxy.engines.launchers.envfile import read_environment
from autotuner.proxy.engines.launchers.port import NOTHING, Exit, LaunchError, Place, State
from autotuner.proxy.engines.launchers.processes import (
    identity_of,
    last_lines,
    marked,
    pid_of,
    words_of_process,
)

_MARK = "AUTOTUNER_PROXY_RUN"  # names a run in the environment of all of its processes
_END_S = 10.0  # chosen: beyond the grace, for the guard to kill and reap


@dataclass(frozen=True)
class CommandOptions:
    """`argv` may hold {port}; without it `port_word` and the port follow.

    `environments` are the places' own variables by port (CUDA_VISIBLE_DEVICES, for one).
    """

    argv: tuple[str, ...]
    ports: tuple[int, ...]
    log_dir: Path
    host: str = "127.0.0.1"
    port_word: str = "--port"
    environment: Mapping[str, str] | None = None
    environment_file: Path | None = None
    environments: Mapping[int, Mapping[str, str]] | None = None
    working_dir: Path | None = None
    grace_s: float = 30.0
    log_bytes: int = 4 << 20
    keep: bool = False


@dataclass
class _Run:
    identity: str
    mark: str
    guard: asyncio.subprocess.Process | None = None  # None: started by an earlier proxy


class CommandLauncher:
    """A Launcher. A guard is the leader of its own session and process group."""

    def __init__(self, options: CommandOptions) -> None:
        self._options = options
        self._runs: dict[str, _Run] = {}

    def places(self) -> Sequence[Place]:
        return [self._place(str(port), port) for port in self._options.ports]

    def elsewhere(self, place: Place) -> Place | None:
        try:
            with socket.create_server((self._options.host, 0)) as probe:
                return self._place(place.name, probe.getsockname()[1])
        except OSError:  # the host is another machine's
            return None

    async def start(self, place: Place, words: Sequence[str]) -> None:
        if platform.system() != "Linux":
            raise LaunchError("launcher.kind='command' needs Linux: use systemd or kubernetes")
        await self.stop(place)
        argv, mark = [*self._argv(place), *words], secrets.token_hex(8)
        try:
            self._exit_file(place).unlink(missing_ok=True)
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                *("-I", guard.__file__, json.dumps(self._spec(place, argv, mark))),
                stdin=asyncio.subprocess.DEVNULL if self._options.keep else asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.DEVNULL,
                env=self._environment(place) | {_MARK: mark},
                cwd=self._options.working_dir,
                start_new_session=True,
            )
        except OSError as problem:
            raise LaunchError(f"can't start {argv[0]}: {problem.strerror}") from problem
        if self._options.keep:
            await self._started_apart(process, place, mark)
            return
        identity = identity_of(process.pid) or f"{process.pid}:0"
        self._runs[place.name] = _Run(identity, mark, process)

    async def stop(self, place: Place) -> None:
        run = self._runs.get(place.name) or self._left(place)
        if run is None:
            return
        pid = pid_of(run.identity)
        if pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
            await self._ended(run, self._options.grace_s + _END_S)
        _kill_left(run)
        await self._ended(run, _END_S)
        self._runs.pop(place.name, None)

    async def state(self, place: Place) -> State:
        run = self._runs.get(place.name)
        if run is None:
            return NOTHING
        if pid_of(run.identity) is not None:
            return State(running=True, identity=run.identity)
        # Had the guard been killed itself, the server died with it, but its children may not have.
        _kill_left(run)
        return State(running=False, identity=run.identity, exit=self._exit(place, run))

    async def recall(self, place: Place, identity: str) -> bool:
        if not self._options.keep or pid_of(identity) is None:
            return False  # without `keep` one that still runs is ending
        run = self._left(place)
        if run is None or run.identity != identity:
            return False
        self._runs[place.name] = run
        return True

    async def log(self, place: Place, identity: str | None) -> Sequence[str]:
        del identity  # one log a place: that of its last run
        return last_lines(self._log_file(place))

    async def command_line(self, place: Place) -> Sequence[str]:
        run = self._runs.get(place.name)
        pid = pid_of(run.identity) if run else None
        if pid is None:
            return ()
        words = words_of_process(pid)
        with contextlib.suppress(ValueError, LookupError, TypeError):
            return [str(word) for word in json.loads(words[-1])["argv"]]
        return ()

    async def close(self) -> None:
        if not self._options.keep:
            await asyncio.gather(*(self.stop(self._place(name, 0)) for name in list(self._runs)))

    def _place(self, name: str, port: int) -> Place:
        host = f"[{self._options.host}]" if ":" in self._options.host else self._options.host
        return Place(name, f"http://{host}:{port}", port)

    def _argv(self, place: Place) -> list[str]:
        argv = [word.replace("{port}", str(place.port)) for word in self._options.argv]
        if argv == list(self._options.argv):
            argv += [self._options.port_word, str(place.port)]
        return argv

    def _spec(self, place: Place, argv: list[str], mark: str) -> dict[str, object]:
        return {
            "argv": argv,
            "mark": mark,
            "log": str(self._log_file(place)),
            "log_bytes": self._options.log_bytes,
            "run_file": str(self._file(place, "run")),
            "exit_file": str(self._exit_file(place)),
            "grace_s": self._options.grace_s,
            "keep": self._options.keep,
        }

    def _environment(self, place: Place) -> dict[str, str]:
        options = self._options
        found = dict(os.environ)
        if options.environment_file:
            found |= read_environment(options.environment_file)
        found |= options.environment or {}
        return found | dict((options.environments or {}).get(int(place.name), {}))

    async def _started_apart(
        self, process: asyncio.subprocess.Process, place: Place, mark: str
    ) -> None:
        """The first process ends as soon as the guard, no child of ours, has its run file."""
        async with asyncio.timeout(_END_S):
            await process.wait()
        noted = self._noted(place)
        if noted is None or noted.mark != mark:
            raise LaunchError(f"{self._options.log_dir}: the guard could not write its run file")
        self._runs[place.name] = noted

    def _file(self, place: Place, kind: str) -> Path:
        return self._options.log_dir / f"server-{place.name}.{kind}"

    def _log_file(self, place: Place) -> Path:
        return self._file(place, "log")

    def _exit_file(self, place: Place) -> Path:
        return self._file(place, "exit")

    def _noted(self, place: Place) -> _Run | None:
        """The last run there, of this proxy or an earlier one; it may have ended."""
        with contextlib.suppress(OSError, ValueError, LookupError, TypeError):
            noted = json.loads(self._file(place, "run").read_text(encoding="utf-8"))
            pid = int(noted["guard"])
            return _Run(identity_of(pid) or f"{pid}:0", str(noted["mark"]))
        return None

    def _left(self, place: Place) -> _Run | None:
        """A run there that goes on, perhaps one that an earlier proxy had not put on record yet."""
        run = self._noted(place)
        pid = pid_of(run.identity) if run else None
        # Its mark stands in its command line: a number that was given out again is another's.
        return run if run and pid and run.mark in " ".join(words_of_process(pid)) else None

    def _exit(self, place: Place, run: _Run) -> Exit:
        """What the guard noted; without a note it was killed before it could write one."""
        with contextlib.suppress(OSError, ValueError, LookupError, TypeError):
            noted = json.loads(self._exit_file(place).read_text(encoding="utf-8"))
            if noted["guard"] == int(run.identity.partition(":")[0]):
                status = int(noted["status"])
                return Exit(status) if status >= 0 else Exit(signal=-status)
        return Exit(signal=signal.SIGKILL, said="its guard was killed")

    async def _ended(self, run: _Run, limit_s: float) -> None:
        """Returns when the guard has ended, or the time is over."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(limit_s):
                if run.guard is not None:
                    await run.guard.wait()
                while pid_of(run.identity) is not None:
                    await asyncio.sleep(0.05)


def _kill_left(run: _Run) -> None:
    """Kills what is left of a run: its process group, and what moved into sessions of its own."""
    group = int(run.identity.partition(":")[0])
    assert group > 1  # 0 would be our own
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)
    for pid in marked(_MARK, run.mark):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)


def port_of(url: str) -> int:
    """The port of an address, the usual one of its scheme where it has none."""
    parts = urlsplit(url)
    return parts.port or (443 if parts.scheme == "https" else 80)
