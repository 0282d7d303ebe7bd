"""How the daemon logs: for eyes, for the journal or as JSON lines, to stderr.

Libraries' own log lines go the same way, from warnings on, so that every line has one shape.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Mapping
from typing import Any, Literal, TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from autotuner.domain.passwords import hide_passwords

Form = Literal["auto", "console", "json"]
# A default uvicorn.Config anywhere in the process gives these handlers, and ends their propagation.
_WITH_HANDLERS = ("uvicorn", "uvicorn.error", "uvicorn.access", "uvicorn.asgi")
_SYSLOG = {"debug": 7, "info": 6, "warning": 4, "error": 3, "critical": 2}


def quiet_logs() -> None:
    """For commands that end: warnings alone, on stderr, since stdout is what they were asked."""
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


def configure_logs(form: Form, level: str, stream: TextIO | None = None) -> None:
    """Sets structlog and logging up for the whole process; may be called again at a reload."""
    stream = sys.stderr if stream is None else stream
    renderers = _renderers(form, stream)
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        _without_passwords,
    ]
    structlog.configure(
        processors=[*shared, *renderers],
        wrapper_class=structlog.make_filtering_bound_logger(
            logging.getLevelNamesMapping()[level.upper()]
        ),
        logger_factory=structlog.PrintLoggerFactory(stream),
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderers],
        )
    )
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    for name in _WITH_HANDLERS:
        _as_libraries_should_be(logging.getLogger(name))


def _as_libraries_should_be(logger: logging.Logger) -> None:
    """Lines of its own go the way of all, from the level of all on."""
    logger.handlers, logger.propagate = [], True
    logger.setLevel(logging.NOTSET)


def in_journal(stream: TextIO, environment: Mapping[str, str] = os.environ) -> bool:
    """Whether `stream` goes to the journal, by $JOURNAL_STREAM (systemd.exec(5))."""
    try:
        found = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return environment.get("JOURNAL_STREAM") == f"{found.st_dev}:{found.st_ino}"


def _renderers(form: Form, stream: TextIO) -> list[Processor]:
    if form == "json":
        return [structlog.processors.JSONRenderer()]
    if form == "auto" and in_journal(stream):
        return [_for_journal]
    return [structlog.dev.ConsoleRenderer(colors=stream.isatty())]


def _for_journal(logger: WrappedLogger, name: str, event: EventDict) -> str:
    """Without the time, which the journal has; the level as its prefix (sd-daemon(3)).

    A line of its own would begin at each line break, without the level: breaks are escaped.
    """
    event.pop("timestamp", None)
    level = event.pop("level", "info")
    text = structlog.processors.LogfmtRenderer(key_order=["event", "target"], drop_missing=True)
    return f"<{_SYSLOG.get(level, 6)}>{level} {text(logger, name, event)}"


def _without_passwords(_logger: WrappedLogger, _name: str, event: EventDict) -> EventDict:
    return {key: _hidden(value) for key, value in event.items()}


def _hidden(value: Any) -> Any:
    return hide_passwords(value) if isinstance(value, str) else value
