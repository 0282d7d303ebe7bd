"""Why servers ended, told from their own words and their exits."""

from __future__ import annotations

import signal

import pytest

from autotuner.proxy.engines.faults import death
from autotuner.proxy.engines.launchers.port import Exit
from autotuner.proxy.ports import Fault
from tests.unit.proxy.engines_lines import ROWS

SIGKILL = Exit(signal=signal.SIGKILL)


@pytest.mark.parametrize(
    ("was_ready", "fault", "lines"),
    [pytest.param(*row[1:], id=row[0]) for row in ROWS],
)
def test_recorded_lines(was_ready: bool, fault: Fault, lines: tuple[str, ...]) -> None:
    found = death(Exit(status=1), lines, was_ready=was_ready)
    assert found.fault is fault
    said = found.message.removeprefix("ended with status 1: ")
    assert any(said[:40] in line for line in lines)


@pytest.mark.parametrize(
    ("ended", "fault"),
    [
        (SIGKILL, Fault.KILLED),
        (Exit(status=137), Fault.KILLED),
        (Exit(status=0, out_of_memory=True), Fault.KILLED),
        (Exit(status=2), Fault.REFUSED),
        (Exit(status=1), Fault.CRASHED),
        (Exit(signal=signal.SIGSEGV), Fault.CRASHED),
        (None, Fault.CRASHED),
    ],
)
def test_without_a_line_the_exit_tells(ended: Exit | None, fault: Fault) -> None:
    assert death(ended, [], was_ready=False).fault is fault


def test_sglang_that_ends_itself_by_sigkill_was_not_killed() -> None:
    lines = [
        "IndexError: x",
        "Received sigquit from a child process. It usually means the child failed.",
    ]
    found = death(SIGKILL, lines, was_ready=True)
    assert found.fault is Fault.CRASHED
    assert "IndexError: x" in found.message


def test_the_line_comes_without_who_said_it_and_when() -> None:
    line = "(EngineCore_DP0 pid=1) ERROR 10-25 13:08:43 [core.py:7] KeyError: 'a'"
    found = death(Exit(status=1), [line], was_ready=True)
    assert found.message == "ended with status 1: KeyError: 'a'"


def test_a_validation_error_says_what_it_is_about() -> None:
    lines = ["ValidationError: 1 validation error for SchedulerConfig", "  Value error, too small"]
    assert "too small" in death(Exit(status=1), lines, was_ready=False).message


def test_out_of_memory_asks_for_opposite_moves_before_and_after_the_pools() -> None:
    oom, pools = "torch.OutOfMemoryError: CUDA out of memory", "GPU KV cache size: 176,240 tokens"
    assert death(None, [oom, pools], was_ready=False).fault is Fault.START_MEMORY
    assert death(None, [pools, oom], was_ready=False).fault is Fault.RUN_MEMORY
    assert death(None, [oom], was_ready=True).fault is Fault.RUN_MEMORY


def test_words_of_the_start_do_not_explain_a_death_while_serving() -> None:
    lines = ["ValueError: max_tokens must be at least 1", "port 8000 is already in use"]
    assert death(SIGKILL, lines, was_ready=True).fault is Fault.KILLED


def test_the_keepers_word_is_passed_on() -> None:
    ended = Exit(status=137, out_of_memory=True, said="Kubernetes says OOMKilled")
    assert "Kubernetes says OOMKilled" in death(ended, [], was_ready=True).message
