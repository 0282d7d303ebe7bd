"""A program that runs one server, keeps the end of its log, and lets none of its processes stay.

It stands between the proxy and the server and knows nothing of either. Started as
`python guard.py SPEC`, SPEC a JSON object: argv, mark, log, log_bytes, run_file, exit_file,
grace_s, keep. The run file names it before the server starts: no run is ever without a name.
- It adopts whatever the server leaves behind (PR_SET_CHILD_SUBREAPER), also what moved into a
  session of its own, and ends all of it after the server's own end.
- Unless `keep`: when its standard input closes, the proxy is gone, and the server is ended.
- With `keep` it leaves its parent, once its run file is there, and outlives it.
- When it is killed itself, the kernel kills the server (PR_SET_PDEATHSIG).
Standard library only, and no thread, so that a preexec_fn is safe.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import selectors
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
_READ_BYTES = 65536
_KILL_ROUNDS = 50  # chosen: a process that forks while it is being killed loses this race


def main(spec: dict[str, Any]) -> int:
    parent_waits = _leave_parent() if spec["keep"] else None
    libc = ctypes.CDLL(None)
    libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    me = os.getpid()

    def die_with_me() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != me:
            os._exit(1)

    wake_read, wake_write = os.pipe()
    os.set_blocking(wake_write, False)
    signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD, signal.SIGHUP):
        signal.signal(number, lambda *_: None)
    log = _Log(Path(spec["log"]), spec["log_bytes"])
    _note(spec["run_file"], {"guard": me, "mark": spec["mark"]})
    if parent_waits is not None:
        os.close(parent_waits)
    try:
        child = subprocess.Popen(  # noqa: S603  # the operator's own command
            spec["argv"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            preexec_fn=die_with_me,
        )
    except OSError as problem:
        log.write(f"can't run {spec['argv'][0]}: {problem.strerror}\n".encode())
        _note_exit(spec, 127)
        return 127
    status = _Watch(spec, child, log, wake_read).until_it_ends()
    _end_the_rest()
    _note_exit(spec, status)
    return status if status >= 0 else 128 - status


def _leave_parent() -> int:
    """Goes on in a child of its own, in a new session; the first process ends when this closes."""
    read, write = os.pipe()
    if os.fork():
        os.close(write)
        os.read(read, 1)
        os._exit(0)
    os.close(read)
    os.setsid()
    return write


class _Watch:
    """The server's output goes to the log; a signal or a closed input ends the server."""

    def __init__(
        self, spec: dict[str, Any], child: subprocess.Popen[bytes], log: _Log, wake: int
    ) -> None:
        self._spec, self._child, self._log, self._wake = spec, child, log, wake
        self._kill_at: float | None = None
        self._events = selectors.DefaultSelector()
        self._events.register(wake, selectors.EVENT_READ)
        assert child.stdout is not None
        self._out = child.stdout.fileno()
        self._events.register(self._out, selectors.EVENT_READ)
        if not spec["keep"]:
            self._events.register(0, selectors.EVENT_READ)

    def until_it_ends(self) -> int:
        while (status := self._child.poll()) is None:
            self._reap_others()
            for key, _ in self._events.select(self._patience_s()):
                self._hear(key.fd)
            if self._kill_at is not None and time.monotonic() >= self._kill_at:
                self._child.kill()
        self._last_words()
        return status

    def _patience_s(self) -> float:
        if self._kill_at is None:
            return 1.0  # a lost wake-up costs no more than this
        return max(min(1.0, self._kill_at - time.monotonic()), 0.01)

    def _hear(self, fd: int) -> None:
        if fd == self._wake:
            numbers = os.read(fd, 256)
            if any(number != signal.SIGCHLD for number in numbers):
                self._end()
        elif data := os.read(fd, _READ_BYTES):
            if fd == self._out:
                self._log.write(data)
        else:
            self._events.unregister(fd)
            if fd == 0:
                self._end()

    def _end(self) -> None:
        if self._kill_at is None:
            self._kill_at = time.monotonic() + self._spec["grace_s"]
            self._child.terminate()

    def _last_words(self) -> None:
        """What is still in the pipe; children that hold it open must not keep us here."""
        os.set_blocking(self._out, False)
        with contextlib.suppress(BlockingIOError):
            while data := os.read(self._out, _READ_BYTES):
                self._log.write(data)

    def _reap_others(self) -> None:
        """Adopted children that ended; never the server itself, whose status Popen reads."""
        with contextlib.suppress(ChildProcessError):
            while ended := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT):
                if ended.si_pid == self._child.pid:
                    return
                os.waitpid(ended.si_pid, os.WNOHANG)


class _Log:
    """The end of what was said, in one file of at most `limit` bytes."""

    def __init__(self, path: Path, limit: int) -> None:
        self._path, self._limit = path, limit
        path.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(OSError):
            path.replace(path.with_suffix(".previous"))
        self._file = path.open("wb")
        self._size = 0

    def write(self, data: bytes) -> None:
        """A full disk must not end the server: what can't be kept is lost."""
        with contextlib.suppress(OSError):
            self._file.write(data)
            self._file.flush()
            self._size += len(data)
            if self._size > self._limit:
                self._cut()

    def _cut(self) -> None:
        """Keeps the newer half, from the start of a line on; a reader sees the old or the new."""
        kept = self._path.read_bytes()[-(self._limit // 2) :]
        kept = kept[kept.find(b"\n") + 1 :]
        fresh = self._path.with_suffix(".cut")
        fresh.write_bytes(kept)
        fresh.replace(self._path)
        self._file.close()
        self._file = self._path.open("ab")
        self._size = len(kept)


def _end_the_rest() -> None:
    """Kills every process that the server left, until none is ours any more."""
    for _ in range(_KILL_ROUNDS):
        left = _descendants(os.getpid())
        if not left:
            return
        for pid in left:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        time.sleep(0.02)


def _descendants(root: int) -> set[int]:
    parent_of = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, ValueError, IndexError):
            # the name in parentheses may hold anything; the parent is the second word after it
            parent_of[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
    found: set[int] = set()
    fresh = {root}
    while fresh:
        fresh = {pid for pid, parent in parent_of.items() if parent in fresh} - found
        found |= fresh
    return found


def _note_exit(spec: dict[str, Any], status: int) -> None:
    _note(spec["exit_file"], {"status": status, "guard": os.getpid()})


def _note(name: str, data: dict[str, Any]) -> None:
    path = Path(name)
    fresh = path.with_suffix(".new")
    with contextlib.suppress(OSError):
        fresh.write_text(json.dumps(data))
        fresh.replace(path)


if __name__ == "__main__":
    sys.exit(main(json.loads(sys.argv[1])))
