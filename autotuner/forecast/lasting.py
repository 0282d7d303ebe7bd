"""A child process that answers many requests, one line each, every one within a time limit."""

from __future__ import annotations

import os
import selectors
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from autotuner.forecast.child import ChildError, kill_session, started

_CHUNK_BYTES = 1 << 16


class LastingChild:
    """One process. Used by one thread at a time; of no use any more once it raised."""

    def __init__(self, command: Sequence[str]) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="autotuner-child-")
        self._errors = Path(self._folder.name, "stderr")
        try:
            with self._errors.open("wb") as errors:
                self._process = started(command, self._folder.name, errors.fileno())
        except OSError:
            self._folder.cleanup()
            raise
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._to, self._from = self._process.stdin.fileno(), self._process.stdout.fileno()
        # Whoever is slow to read must not keep the time limit from being looked at.
        os.set_blocking(self._to, False)

    @property
    def pid(self) -> int:
        return self._process.pid

    def ask(self, line: bytes, limit_s: float) -> bytes:
        """The line that answers `line`, both without their ends.

        Raises TimeoutError after `limit_s`, ChildError when the process ended instead; either
        way close it then.
        """
        waiting, answer = memoryview(line + b"\n"), bytearray()
        deadline = time.monotonic() + limit_s
        with selectors.DefaultSelector() as ready:
            ready.register(self._to, selectors.EVENT_WRITE)
            ready.register(self._from, selectors.EVENT_READ)
            while not answer.endswith(b"\n"):
                left_s = deadline - time.monotonic()
                for key, _ in ready.select(left_s) if left_s > 0 else self._late(limit_s):
                    if key.fd == self._from:
                        answer += self._read()
                        continue
                    waiting = waiting[self._write(waiting) :]
                    if not waiting:
                        ready.unregister(self._to)
        return bytes(answer[:-1])

    def close(self) -> None:
        """Ends the process and all that it started; its temporary files go."""
        kill_session(self._process)
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        self._folder.cleanup()

    def _late(self, limit_s: float) -> list[tuple[selectors.SelectorKey, int]]:
        raise TimeoutError(f"timed out after {limit_s:g} s")

    def _read(self) -> bytes:
        chunk = os.read(self._from, _CHUNK_BYTES)
        if not chunk:
            raise ChildError(self._last_words())
        return chunk

    def _write(self, waiting: memoryview) -> int:
        try:
            return os.write(self._to, waiting[:_CHUNK_BYTES])
        except BrokenPipeError:
            self._process.wait()
            raise ChildError(self._last_words()) from None

    def _last_words(self) -> str:
        lines = self._errors.read_text(errors="replace").strip().splitlines()
        return lines[-1] if lines else "the process ended without an answer"
