"""Answers that come late: the caller goes on, and hears of failures."""

from __future__ import annotations

import threading

import pytest

from autotuner.targets.late import Late


def test_an_answer_in_time_is_given_and_a_failure_raised() -> None:
    late: Late[int, str] = Late()
    assert late.asked(lambda: 7, 30.0, TimeoutError(), "a") == 7

    def fails() -> int:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        late.asked(fails, 30.0, TimeoutError(), "a")
    assert late.failures() == []


def test_a_failure_that_comes_late_is_told_once_with_what_it_was_about() -> None:
    late: Late[int, str] = Late()
    go, gone = threading.Event(), threading.Event()

    def fails() -> int:
        assert go.wait(30)
        threading.Timer(0, gone.set).start()
        raise ValueError("no")

    with pytest.raises(TimeoutError, match="read back"):
        late.asked(fails, 0.0, TimeoutError("read back"), "max_num_seqs=8")
    assert late.failures() == []
    go.set()
    assert gone.wait(30)
    found: list[tuple[str, BaseException]] = []
    while not found:
        found = late.failures()
    assert [(about, str(problem)) for about, problem in found] == [("max_num_seqs=8", "no")]
    assert late.failures() == []


def test_what_succeeds_late_is_no_failure() -> None:
    late: Late[int, str] = Late()
    go = threading.Event()
    with pytest.raises(TimeoutError):
        late.asked(lambda: int(go.wait(30)), 0.0, TimeoutError(), "a")
    go.set()
    for _ in range(100):
        assert late.failures() == []
