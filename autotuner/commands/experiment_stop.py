"""Which test runs on a target, for whoever wants to stop it."""

from __future__ import annotations

from autotuner.asking import request_named, stop_named
from autotuner.domain.errors import HistoryError
from autotuner.history.store import History

__all__ = ["request_named", "running_on", "stop_named"]


def running_on(history: History, target: str) -> str:
    """The id of the test that runs on `target`; raises HistoryError where none does."""
    running = history.status(target).running
    if running is not None:
        return running.id
    waiting = history.next_declared(target)
    if waiting is None:
        raise HistoryError(f"no test runs on {target}: nothing to stop")
    raise HistoryError(
        f"no test runs on {target}; request {waiting.id} waits: "
        f"`autotuner experiment stop {waiting.id}` withdraws it"
    )
