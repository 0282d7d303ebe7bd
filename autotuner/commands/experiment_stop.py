"""Ending a test that runs, or taking back the wish for one that waits."""

from __future__ import annotations

from autotuner.domain.errors import HistoryError
from autotuner.history.records import Ask, Control
from autotuner.history.store import History


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


def stop_named(history: History, name: str, who: str, now: float) -> str:
    """Withdraws the request, or has the experiment ended, of that name; says what was done.

    Raises HistoryError where there is no such thing, or nothing left to stop.
    """
    request = request_named(history, name)
    if request is not None and request.waits:
        history.take_control(request.id, now, result=f"withdrawn by {who}")
        return f"request {request.id} is withdrawn"
    if request is not None and request.experiment_id is None:
        raise HistoryError(f"request {request.id} is over already: {request.result or 'not run'}")
    key = name if request is None else str(request.experiment_id)
    test = history.experiment(key)
    if test is None:
        raise HistoryError(f"experiment {key!r}: unknown; see `autotuner experiment list`")
    if not test.running:
        raise HistoryError(f"experiment {key} has ended already: nothing to stop")
    history.ask(test.target, Ask.STOP, who, now, note=key)
    return f"{key} ends in the daemon's next cycle; the incumbent comes back"


def request_named(history: History, name: str) -> Control | None:
    """The declared test of that number; None where `name` is no number of one."""
    found = history.control(int(name)) if name.isdecimal() else None
    return found if found is not None and found.what is Ask.EXPERIMENT else None
