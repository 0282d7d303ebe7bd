"""Ending a test, taking back the wish for one, lifting a quarantine: whoever asks for it.

The command line, the API and the page come through here; the daemon finds in the history what was
asked, at its next cycle.
"""

from __future__ import annotations

from autotuner.domain.errors import HistoryError
from autotuner.history.records import Ask, Control, Quarantine
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


def lift_named(
    history: History, digest: str, target: str | None, who: str, why: str, now: float
) -> Quarantine:
    """Lets the settings whose digest begins so be tried again; what was lifted.

    Who and why stay in the quarantine's row, and among the decisions. Raises HistoryError where no
    quarantine, or more than one, is meant.
    """
    found = [one for one in history.held(target, now) if one.settings.digest.startswith(digest)]
    if not digest or not found:
        raise HistoryError(f"{digest!r}: nothing like it is held; see `autotuner quarantine list`")
    if len(found) > 1:
        which = ", ".join(f"{one.settings.digest[:12]} of {one.target}" for one in found)
        raise HistoryError(f"{digest!r}: is more than one ({which}): give more of it, or --target")
    [held] = found
    with history.together():
        if not history.lift(held, who, why, now):
            raise HistoryError(f"{digest!r}: was renewed just now: look at it again")
        said = f"{who} lets {held.settings!r} be tried again: {why}"
        history.record_decision(held.target, "HOLD", said, at=now)
    return held


def request_named(history: History, name: str) -> Control | None:
    """The declared test of that number; None where `name` is no number of one."""
    is_number = name.isascii() and name.isdecimal() and len(name) < 19
    found = history.control(int(name)) if is_number else None
    return found if found is not None and found.what is Ask.EXPERIMENT else None
