"""What a person may ask of a daemon on the page: the words of each, and whom it goes to."""

from __future__ import annotations

from dataclasses import dataclass

from autotuner.history.records import Ask
from autotuner.web import acting
from autotuner.web.guard import Asker
from autotuner.web.problems import ConflictError, UnknownNameError
from autotuner.web.sources import Sources


@dataclass(frozen=True)
class Action:
    """`question` and `consequence` hold `{target}`; `asked` is said once it was asked."""

    name: str
    button: str
    what: Ask
    question: str
    consequence: str
    asked: str
    dangerous: bool = False


ACTIONS = {
    one.name: one
    for one in (
        Action(
            "pause", "Pause", Ask.PAUSE, "Pause {target}?",
            "From the next cycle on, {target} is only observed. A running test ends as ABORTED and "
            "the incumbent comes back. Nothing is tuned until somebody resumes it.",
            "Pause was asked for; the daemon acts in its next cycle.",
        ),
        Action(
            "resume", "Resume", Ask.RESUME, "Resume {target}?",
            "From the next cycle on, the daemon tunes {target} again: it may start A/B tests on "
            "live traffic.",
            "Resuming was asked for; the daemon acts in its next cycle.",
        ),
        Action(
            "rollback", "Roll back", Ask.ROLLBACK, "Roll {target} back to its incumbent?",
            "In the next cycle a running test on {target} ends, and the settings in force (the "
            "incumbent) are applied to the whole target. Settings that need a restart restart it.",
            "The rollback was asked for; the daemon acts in its next cycle.",
            dangerous=True,
        ),
        Action(
            "stop", "Stop the test", Ask.STOP, "Stop the test on {target}?",
            "In the next cycle the test on {target} ends as ABORTED, without a verdict, and the "
            "incumbent comes back. What was measured stays in the history.",
            "The stop was asked for; the daemon acts in its next cycle.",
            dangerous=True,
        ),
    )
}  # fmt: skip


def offered(mode: str | None, running: bool) -> tuple[Action, ...]:
    """The actions that make sense on a target in `mode`, in the order shown."""
    names = ["resume" if mode == "paused" else "pause", "rollback"]
    if running:
        names.append("stop")
    return tuple(ACTIONS[name] for name in names)


def asked_words(name: str) -> str:
    """What is said after `name` was asked for; nothing for a name that is none."""
    told = {one.name: one.asked for one in ACTIONS.values()} | {
        "silence": "The silence holds from now on.",
        "silence-end": "The silence has ended; what still fires is told in the next cycle.",
    }
    return told.get(name, "")


def action_named(name: str) -> Action:
    """Raises UnknownNameError where there is none."""
    if name not in ACTIONS:
        raise UnknownNameError("action", name, f"give one of {', '.join(ACTIONS)}")
    return ACTIONS[name]


def perform(sources: Sources, target: str, name: str, experiment: str, asker: Asker) -> None:
    """Asks the daemon for it; raises RequestError.

    A stop ends the test that the person saw (`experiment`), never one that began since.
    """
    action = action_named(name)
    if action.what is not Ask.STOP:
        acting.ask(sources, target, action.what, asker)
    elif experiment:
        acting.stop(sources, experiment, asker)
    else:
        raise ConflictError("experiment", "none", "no test ran on the target: nothing to stop")
