"""Targets think of candidates one after another, in the order in which they asked."""

from __future__ import annotations

import pytest

from autotuner.domain.errors import ProposerBusyError
from autotuner.thinking import PATIENCE_S, Thinkers


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def let_in(thinkers: Thinkers, target: str) -> bool:
    try:
        with thinkers.turn(target):
            return True
    except ProposerBusyError:
        return False


def test_while_one_thinks_others_are_told_to_come_again() -> None:
    thinkers = Thinkers()
    with thinkers.turn("a"):
        with pytest.raises(ProposerBusyError, match="1 other target first"), thinkers.turn("b"):
            pass
        with pytest.raises(ProposerBusyError, match="2 other targets first"), thinkers.turn("c"):
            pass
    assert let_in(thinkers, "b")


def test_who_asked_first_is_let_in_first() -> None:
    thinkers = Thinkers()
    with thinkers.turn("a"):
        assert not let_in(thinkers, "b")
        assert not let_in(thinkers, "c")
    assert not let_in(thinkers, "c")
    assert let_in(thinkers, "b")
    assert let_in(thinkers, "c")


def test_who_does_not_ask_again_holds_up_nobody() -> None:
    clock = Clock()
    thinkers = Thinkers(clock=clock)
    with thinkers.turn("a"):
        assert not let_in(thinkers, "b")
    clock.now = PATIENCE_S + 1
    assert let_in(thinkers, "c")


def test_several_may_think_where_there_is_room() -> None:
    thinkers = Thinkers(at_once=2)
    with thinkers.turn("a"), thinkers.turn("b"):
        assert not let_in(thinkers, "c")
    assert let_in(thinkers, "c")


def test_a_proposer_that_fails_gives_its_turn_back() -> None:
    thinkers = Thinkers()
    with pytest.raises(ZeroDivisionError), thinkers.turn("a"):
        _ = 1 / 0
    assert let_in(thinkers, "b")
