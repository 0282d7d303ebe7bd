from __future__ import annotations

import random

import pytest

from autotuner.finetune.training.pacing import Clocks, Pacer


class Machine:
    """Time passes by working, waiting or sleeping alone; a sleep may take longer than asked."""

    def __init__(self) -> None:
        self.wall = self.cpu = self.slept = 0.0
        self.oversleep_s = 0.0
        self.clocks = Clocks(
            wall=lambda: self.wall, cpu=lambda: self.cpu, epoch=lambda: 0.0, sleep=self.sleep
        )

    def work(self, seconds: float, threads: float = 1.0) -> None:
        self.wall += seconds
        self.cpu += seconds * threads

    def wait(self, seconds: float) -> None:
        self.wall += seconds

    def sleep(self, seconds: float) -> None:
        self.wall += seconds + self.oversleep_s
        self.slept += seconds + self.oversleep_s


def test_the_share_is_kept_by_every_stretch() -> None:
    machine, drawn = Machine(), random.Random(1)
    pacer = Pacer(0.5, machine.clocks)

    for _ in range(200):
        wall, cpu = machine.wall, machine.cpu
        machine.work(drawn.expovariate(1.0), threads=drawn.choice([0.2, 1.0, 4.0]))
        pacer.pause()
        assert machine.cpu - cpu <= 0.5 * (machine.wall - wall) + 1e-9

    assert machine.cpu / machine.wall <= 0.5


def test_it_sleeps_no_longer_than_it_has_to() -> None:
    machine = Machine()
    pacer = Pacer(0.25, machine.clocks)

    machine.work(1.0)

    assert pacer.pause() == pytest.approx(3.0)
    assert machine.cpu / machine.wall == pytest.approx(0.25)


def test_who_waited_for_others_owes_less_and_saves_nothing_up() -> None:
    machine = Machine()
    pacer = Pacer(0.5, machine.clocks)

    machine.work(1.0)
    machine.wait(0.5)
    assert pacer.pause() == pytest.approx(0.5)

    machine.wait(100.0)
    assert pacer.pause() == 0.0
    machine.work(1.0)
    assert pacer.pause() == pytest.approx(1.0)


def test_a_sleep_that_ran_late_is_told_as_it_was() -> None:
    machine = Machine()
    machine.oversleep_s = 0.25
    pacer = Pacer(1.0, machine.clocks)

    machine.work(1.0, threads=2.0)

    assert pacer.pause() == pytest.approx(1.25)


def test_several_cores_are_a_share_of_all_of_them() -> None:
    machine = Machine()
    pacer = Pacer(0.5 * 4, machine.clocks)

    machine.work(1.0, threads=2.0)
    assert pacer.pause() == 0.0
    machine.work(1.0, threads=4.0)
    assert pacer.pause() == pytest.approx(1.0)
