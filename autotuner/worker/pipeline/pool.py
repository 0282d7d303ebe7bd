"""Where long texts are worked on: threads, so that the event loop goes on streaming."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


class TextPool:
    """Runs short work in place, long work in one of `workers` threads.

    Threads do for this, and a process would have to be sent the texts: nearly all of the time goes
    to tokenising, which releases the interpreter's lock (measured with tokenizers 0.23: while
    200,000 characters took 135 ms, no other thread was held up for more than 5 ms). Cleaning holds
    it for a slice at a time, parsing and rendering for their whole length, some ms a megabyte.
    """

    def __init__(self, workers: int) -> None:
        self._executor = ThreadPoolExecutor(workers, thread_name_prefix="pipeline")

    async def run(self, work: Callable[[], T], *, is_long: bool) -> T:
        """What `work` returns or raises."""
        if not is_long:
            return work()
        return await asyncio.get_running_loop().run_in_executor(self._executor, work)

    def close(self) -> None:
        """Drops what has not begun; safe to call twice."""
        self._executor.shutdown(wait=False, cancel_futures=True)
