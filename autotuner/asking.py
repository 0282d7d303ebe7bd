"""Ending a test that runs, or taking back the wish for one that waits, whoever asks for it.

The command line, the API and the page stop tests through here; the daemon finds the wish in the
history at its next cycle.
"""

from __future__ import annotations

from autotuner.domain.errors import HistoryError
from autotuner.history.records import Ask, Control
from autotuner.history.store import History


class NothingToStopError(HistoryError):
    """What was to be stopped is over already."""


class NoSuchTestError(HistoryError):
    """No experiment and no request has that name."""


def stop_named(history: History, name: str, who: str, now: float) -> str:
    """Withdraws the request, or has the experiment ended, of that name; says what was done.

    Raises NoSuchTestError where there is no such thing, NothingToStopError where it is over.
    """
    request = request_named(history, name)
    if request is not None and request.waits:
        history.take_control(request.id, now, result=f"withdrawn by {who}")
        return f"request {request.id} is withdrawn"
    if request is not None and request.experiment_id is None:
        raise NothingToStopError(
            f"request {request.id} is over already: {request.result or 'not run'}"
        )
    key = name if request is None else str(request.experiment_id)
    test = history.experiment(key)
    if test is None:
        raise NoSuchTestError(f"experiment {key!r}: unknown; see `autotuner experiment list`")
    if not test.running:
        raise NothingToStopError(f"experiment {key} has ended already: nothing to stop")
    history.ask(test.target, Ask.STOP, who, now, note=key)
    return f"{key} ends in the daemon's next cycle; the incumbent comes back"


def request_named(history: History, name: str) -> Control | None:
    """The declared test of that number; None where `name` is no number of one."""
    is_number = name.isascii() and name.isdecimal() and len(name) < 19
    found = history.control(int(name)) if is_number else None
    return found if found is not None and found.what is Ask.EXPERIMENT else None
