"""Slow jobs take turns; one that never ends is passed by."""

from __future__ import annotations

import threading

from autotuner.turns import Turns


def test_a_turn_is_waited_for() -> None:
    turns, order = Turns(1), []
    inside, go_on = threading.Event(), threading.Event()

    def first() -> None:
        with turns.turn("first"):
            inside.set()
            go_on.wait(30)
            order.append("first")

    def second() -> None:
        with turns.turn("second"):
            order.append("second")

    threads = [threading.Thread(target=first), threading.Thread(target=second)]
    threads[0].start()
    assert inside.wait(30)
    threads[1].start()
    go_on.set()
    for thread in threads:
        thread.join(30)
    assert order == ["first", "second"]


def test_one_that_overstays_is_passed_by() -> None:
    now = [0.0]
    turns = Turns(1, overdue_s=60.0, clock=lambda: now[0])
    with turns.turn("stuck") as stuck:
        now[0] = 61.0
        with turns.turn("next") as mine:
            assert stuck
            assert mine
    with turns.turn("later") as mine:
        assert mine


def test_who_waits_at_the_end_gets_no_turn() -> None:
    turns, got = Turns(1), []
    inside = threading.Event()

    def waiting() -> None:
        inside.set()
        with turns.turn("waiting") as mine:
            got.append(mine)

    with turns.turn("held"):
        thread = threading.Thread(target=waiting)
        thread.start()
        assert inside.wait(30)
        turns.close()
        thread.join(30)
    assert got == [False]
