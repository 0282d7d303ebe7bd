"""Log lines: one shape for ours and the libraries', no password, no time twice."""

from __future__ import annotations

import io
import json
import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
import uvicorn

from autotuner.logs import configure_logs, in_journal


@pytest.fixture(autouse=True)
def _logs_as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    structlog.reset_defaults()
    root.handlers, root.level = handlers, level


def lines(form: str, level: str = "info") -> list[str]:
    out = io.StringIO()
    configure_logs(form, level, out)  # type: ignore[arg-type]
    log = structlog.get_logger()
    with structlog.contextvars.bound_contextvars(target="chat"):
        log.info("cycle", reason="fine")
        log.debug("detail")
        logging.getLogger("uvicorn.error").warning("a %s", "library's")
    log.error("lost", url="postgresql://me:geheim@db/x", problem="at http://a:geheim@b/ as told")
    return out.getvalue().splitlines()


def test_every_json_line_has_time_level_event_and_target() -> None:
    told = [json.loads(line) for line in lines("json")]
    assert [one["event"] for one in told] == ["cycle", "a library's", "lost"]
    assert [one["level"] for one in told] == ["info", "warning", "error"]
    assert all(one["timestamp"].endswith("Z") for one in told)
    assert [one.get("target") for one in told] == ["chat", "chat", None]


def test_a_server_made_before_with_its_own_log_setup_does_not_matter() -> None:
    uvicorn.Config(str, port=0)
    told = [json.loads(line) for line in lines("json")]
    assert [one["event"] for one in told] == ["cycle", "a library's", "lost"]
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logger = logging.getLogger(name)
        assert (logger.handlers, logger.propagate) == ([], True)
        assert not logger.isEnabledFor(logging.INFO)  # as every library's: from warnings on


@pytest.mark.parametrize("form", ["json", "console", "auto"])
def test_no_line_holds_a_password(form: str) -> None:
    text = "\n".join(lines(form))
    assert "geheim" not in text
    assert "me:***@db" in text


def test_a_level_leaves_out_what_is_below_it() -> None:
    assert len(lines("json", "error")) == 2  # ours from errors on, a library's from warnings on
    assert len(lines("json", "debug")) == 4


def test_no_colours_where_nobody_watches() -> None:
    assert "\x1b" not in "\n".join(lines("auto"))


def test_the_journal_gets_a_priority_and_no_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "journal"
    with path.open("w", encoding="utf-8") as out:
        found = os.fstat(out.fileno())
        monkeypatch.setenv("JOURNAL_STREAM", f"{found.st_dev}:{found.st_ino}")
        configure_logs("auto", "info", out)
        structlog.get_logger().warning("cycle", reason="two\nmore lines", target="chat", ok=True)
    assert path.read_text() == '<4>warning event=cycle target=chat reason="two\\nmore lines" ok\n'


def test_a_stream_that_is_another_is_not_the_journal(tmp_path: Path) -> None:
    with (tmp_path / "x").open("w") as out:
        found = os.fstat(out.fileno())
        assert in_journal(out, {"JOURNAL_STREAM": f"{found.st_dev}:{found.st_ino}"})
        assert not in_journal(out, {"JOURNAL_STREAM": f"{found.st_dev}:{found.st_ino + 1}"})
        assert not in_journal(out, {})
    assert not in_journal(io.StringIO(), {"JOURNAL_STREAM": "1:2"})
