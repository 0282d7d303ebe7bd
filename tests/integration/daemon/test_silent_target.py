"""What people ask for while the target has not answered yet: told at once, and kept to later."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from autotuner.domain.errors import TargetUnavailableError
from autotuner.domain.mode import Mode
from autotuner.domain.ports import LiveSettings
from autotuner.history.records import Ask
from tests.integration.daemon.loop import FragileTarget, Loop, make_loop


@dataclass
class SilentTarget(FragileTarget):
    """Does not answer while it is `down`."""

    down: bool = True

    def read_settings(self) -> LiveSettings:
        if self.down:
            raise TargetUnavailableError("connection refused")
        return super().read_settings()


@pytest.fixture
def loop(tmp_path: Path) -> Loop:
    made = make_loop(tmp_path)
    made.target.__class__ = SilentTarget
    return made


def told(loop: Loop) -> str:
    """The mode that status, page and API show."""
    beat = loop.history.status("t").heartbeat
    assert beat is not None
    return beat.mode.value


def ask(loop: Loop, what: Ask) -> None:
    loop.history.ask("t", what, "ana", loop.now)


def answers(loop: Loop) -> None:
    assert isinstance(loop.target, SilentTarget)
    loop.target.down = False


def test_a_pause_is_told_at_once_and_holds_from_the_first_answer_on(loop: Loop) -> None:
    loop.cycle()
    assert told(loop) == "active"
    ask(loop, Ask.PAUSE)
    for _ in range(2):  # taken from the history in the first of them
        assert "connection refused" in loop.cycle()
        assert told(loop) == "paused"
    answers(loop)
    assert "paused" in loop.cycle()
    for _ in range(60):
        loop.cycle()
    assert told(loop) == "paused"
    assert loop.history.experiments() == []


def test_the_last_word_counts(loop: Loop) -> None:
    for what, mode in ((Ask.PAUSE, "paused"), (Ask.ADVISORY, "advisory"), (Ask.RESUME, "active")):
        ask(loop, what)
        loop.cycle()
        assert told(loop) == mode
    answers(loop)
    loop.cycle()
    assert told(loop) == "active"


def test_a_daemon_that_starts_anew_knows_of_the_pause(loop: Loop) -> None:
    ask(loop, Ask.PAUSE)
    loop.cycle()
    loop.restart()
    loop.cycle()
    assert told(loop) == "paused"


def test_a_resume_overrules_what_the_configuration_says(loop: Loop) -> None:
    loop.daemon.mode = Mode.ADVISORY
    loop.cycle()
    assert told(loop) == "advisory"
    ask(loop, Ask.RESUME)
    loop.cycle()
    assert told(loop) == "active"
    answers(loop)
    loop.cycle()
    assert told(loop) == "active"
