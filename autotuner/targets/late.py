"""Answers that come after their caller went on: a restart takes minutes, a cycle must not.

Knows threads and time; knows no request's meaning.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotYetError
from typing import Generic, TypeVar

Answer = TypeVar("Answer")
About = TypeVar("About")


class Late(Generic[Answer, About]):
    """Calls that are waited for shortly and end by themselves; for one caller's thread."""

    def __init__(self) -> None:
        self._open: list[tuple[Future[Answer], About]] = []

    def asked(
        self, call: Callable[[], Answer], patience_s: float, late: Exception, about: About
    ) -> Answer:
        """What `call` returns or raises within `patience_s`; raises `late` where it takes longer.

        What it then comes to raise is told by `failures`; what it comes to return is dropped.
        """
        future: Future[Answer] = Future()
        # A daemon thread: the process may end while an answer is awaited.
        threading.Thread(target=_run, args=(future, call), daemon=True).start()
        try:
            return future.result(patience_s)
        except NotYetError:
            if future.done():
                raise
            self._open.append((future, about))
            raise late from None

    def failures(self) -> list[tuple[About, BaseException]]:
        """The late calls that failed since, each with what it was about."""
        done = [one for one in self._open if one[0].done()]
        self._open = [one for one in self._open if one not in done]
        ended = [(about, future.exception()) for future, about in done]
        return [(about, problem) for about, problem in ended if problem is not None]


def _run(future: Future[Answer], call: Callable[[], Answer]) -> None:
    try:
        future.set_result(call())
    except BaseException as problem:  # noqa: BLE001 - handed to whoever asked
        future.set_exception(problem)
