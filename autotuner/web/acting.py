"""What page and API let people do: wishes in the history, where each daemon finds its own.

The history keeps what, of which target, who (NAME@ADDRESS) and when: the audit trail. A silence
has its author, and says in its comment who ended it.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace

import structlog

from autotuner.asking import NoSuchTestError, NothingToStopError, stop_named
from autotuner.domain.errors import ConfigError
from autotuner.domain.silences import Silence, duration_s
from autotuner.history.records import Ask
from autotuner.web.guard import Asker
from autotuner.web.lines import silence_view
from autotuner.web.problems import ConflictError, RequestError, UnknownNameError
from autotuner.web.sources import Sources
from autotuner.web.views import SilenceView

log = structlog.get_logger()

LONGEST_SILENCE_S = 366 * 86400.0  # chosen: what nobody remembers should not stay silent
MOST_CHARACTERS = 500


def ask(sources: Sources, target: str, what: Ask, asker: Asker, note: str = "") -> str:
    """Pause, resume or rollback of a target, or a stop of its test; says what will happen.

    Raises UnknownNameError for a target that nobody knows.
    """
    sources.expect(target)
    sources.history.ask(target, what, asker.who, time.time(), note=told(note, "note"))
    log.info("action", what=what.value, target=target, who=asker.who)
    return f"{what.value} asked for {target}; the daemon acts in its next cycle"


def stop(sources: Sources, name: str, asker: Asker) -> str:
    """Ends the test of that id, or withdraws the request of that number; says what was done.

    Raises UnknownNameError, and ConflictError where it is over already.
    """
    try:
        said = stop_named(sources.history, told(name, "experiment"), asker.who, time.time())
    except NoSuchTestError as problem:
        fix = "unknown; give an id as the list of experiments shows it"
        raise UnknownNameError("experiment", name, fix) from problem
    except NothingToStopError as problem:
        raise ConflictError("experiment", name, str(problem)) from problem
    log.info("action", what=Ask.STOP.value, experiment=name, who=asker.who)
    return said


def add_silence(
    sources: Sources,
    asker: Asker,
    *,
    lasting: str,
    comment: str,
    target: str = "",
    alert: str = "",
    labels: Mapping[str, str] | None = None,
    everything: bool = False,
) -> SilenceView:
    """Alerts that match are not told from now on; raises RequestError for what makes no sense."""
    now = time.time()
    silence = Silence(
        starts_at=now,
        ends_at=now + _length_s(lasting),
        author=asker.who,
        comment=told(comment, "comment").strip(),
        target=told(target, "target"),
        alert=told(alert, "alert"),
        labels=tuple(sorted(_labels(labels or {}).items())),
    )
    if target:
        sources.expect(target)
    _check_silence(silence, everything)
    stored = replace(silence, id=sources.history.add_silence(silence))
    log.info("action", what="silence", id=stored.id, target=target or None, who=asker.who)
    return silence_view(stored, now)


def end_silence(sources: Sources, silence_id: int, asker: Asker) -> SilenceView:
    """Ends it now; raises UnknownNameError, and ConflictError where it is over already."""
    now = time.time()
    found = {one.id: one for one in sources.history.silences()}
    if silence_id not in found:
        raise UnknownNameError("silence", silence_id, "unknown; give an id as the list shows it")
    if not sources.history.end_silence(silence_id, now, f"ended by {asker.who}"):
        raise ConflictError("silence", silence_id, "it has ended already")
    log.info("action", what="silence end", id=silence_id, who=asker.who)
    [ended] = [one for one in sources.history.silences() if one.id == silence_id]
    return silence_view(ended, now)


def told(text: str, field: str) -> str:
    """`text`, if a database and a log can hold it as it is; raises RequestError."""
    if len(text) > MOST_CHARACTERS:
        raise RequestError(field, text, f"longer than {MOST_CHARACTERS} characters: shorten it")
    if any(not (character.isprintable() or character == "\n") for character in text):
        raise RequestError(field, text, "holds characters that can't be printed: take them out")
    return text


def _length_s(lasting: str) -> float:
    try:
        length_s = duration_s(lasting, "lasting")
    except ConfigError as problem:
        raise RequestError("lasting", lasting, "give 90s, 30m, 2h, 1h30m, 1d or 1w") from problem
    if length_s > LONGEST_SILENCE_S:
        raise RequestError("lasting", lasting, "longer than a year: give 52w or less")
    return length_s


def _labels(labels: Mapping[str, str]) -> dict[str, str]:
    if len(labels) > 20:
        raise RequestError("labels", len(labels), "too many: give 20 or fewer")
    return {told(name, "labels"): told(value, "labels") for name, value in labels.items()}


def _check_silence(silence: Silence, everything: bool) -> None:
    if not silence.comment:
        raise RequestError("comment", silence.comment, "say why, so that others know")
    if silence.matches_all and not everything:
        raise RequestError(
            "everything", False, "this would silence every alert of every target: give target, "
            "alert or labels, or everything: true to mean it",
        )  # fmt: skip
    if everything and not silence.matches_all:
        raise RequestError("everything", True, "contradicts target, alert or labels: drop either")
