"""A golden file that may be replaced while the worker runs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from autotuner.worker.probe.golden import GoldenError
from autotuner.worker.probe.golden_source import GoldenSet
from autotuner.worker.probe.service import Golden

log = logging.getLogger(__name__)

State = tuple[int, int, int]


class GoldenFile:
    """The items of `file`, read again when it has changed; `read` makes a source of it.

    A new set counts once it is whole, reference and all. One that can't be used leaves the set of
    before in force, and its problem is told with every set until the file is mended.
    """

    def __init__(self, file: Path, read: Callable[[Path], Golden]) -> None:
        """Reads the file; raises GoldenError."""
        self._file, self._read = file, read
        self._state = _state_of(file)
        self._source = read(file)
        self._problem: str | None = None

    async def current(self) -> GoldenSet:
        """The set in force; raises GoldenError where even the first one can't be made."""
        state = _state_of(self._file)
        if state != self._state:
            await self._take_up()
            self._state = state
        return replace(await self._source.current(), problem=self._problem)

    async def _take_up(self) -> None:
        try:
            source = await asyncio.to_thread(self._read, self._file)
            new = await source.current()
        except GoldenError as error:
            self._problem = str(error)
            log.warning("golden file not taken up, the items of before stay: %s", error)
        else:
            self._source, self._problem = source, None
            log.info("golden file taken up: %d items, set %s", len(new.answers), new.name)


def _state_of(file: Path) -> State | None:
    try:
        state = file.stat()
    except OSError:
        return None
    return state.st_size, state.st_mtime_ns, state.st_ino
