"""Gauges from beside a server: there or absent, never stale, never the server's failure."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from autotuner.domain.energy import Meter
from autotuner.domain.errors import TargetError, TargetUnavailableError
from autotuner.domain.telemetry import Snapshot
from autotuner.metrics.joined import JoinedSource
from autotuner.metrics.window import between


@dataclass
class Scripted:
    """Gives its snapshots one after the other; None is a failure."""

    snapshots: list[Snapshot | None]
    asked: int = 0

    def snapshot(self) -> Snapshot:
        self.asked += 1
        seen = self.snapshots.pop(0)
        if seen is None:
            raise TargetUnavailableError("no page")
        return seen


@dataclass
class Clock:
    now: float = 0.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Scene:
    server: list[Snapshot | None]
    gpu: list[Snapshot | None]
    clock: Clock = field(default_factory=Clock)

    def source(self) -> tuple[JoinedSource, Scripted]:
        beside = Scripted(self.gpu)
        return JoinedSource(Scripted(self.server), {"gpu": beside}, 30.0, self.clock), beside


def served(at: float) -> Snapshot:
    return Snapshot(at, {"requests": at}, {"running": 2.0, "started_at": 1.0})


def heat(celsius: float) -> Snapshot:
    return Snapshot(0.0, {"exporter_scrapes": 9.0}, {"temperature_c": celsius, "running": 7.0})


def test_gauges_join_the_servers_and_never_replace_them() -> None:
    source, _ = Scene([served(5.0)], [heat(60.0)]).source()
    seen = source.snapshot()
    assert (seen.at, seen.counters) == (5.0, {"requests": 5.0})
    assert seen.gauges == {
        "running": 2.0, "started_at": 1.0, "temperature_c": 60.0, "source_up_gpu": 1.0,
    }  # fmt: skip


def test_a_source_that_fails_is_absent_and_then_left_alone_for_a_while() -> None:
    scene = Scene([served(float(n)) for n in range(1, 6)], [heat(60.0), None, heat(70.0)])
    source, gpu = scene.source()
    told = []
    for now in (0.0, 5.0, 10.0, 34.0, 35.0):
        scene.clock.now = now
        gauges = source.snapshot().gauges
        told.append((gauges.get("temperature_c"), gauges["source_up_gpu"]))
    assert told == [(60.0, 1.0), (None, 0.0), (None, 0.0), (None, 0.0), (70.0, 1.0)]
    assert gpu.asked == 3


def test_a_source_that_goes_is_no_restart_of_the_server() -> None:
    source, _ = Scene([served(5.0), served(10.0)], [heat(60.0), None]).source()
    window = between(source.snapshot(), source.snapshot())
    assert (window.resets, window.requests) == ((), 5.0)


def test_a_source_that_should_tell_energy_and_does_not_is_said_to() -> None:
    meter = Meter({"gpu0": 5.0})
    told = [Snapshot(0.0, energy={"nvml": meter}), heat(60.0), None]
    server = Scripted([served(float(n)) for n in range(1, 4)])
    source = JoinedSource(server, {"gpu": Scripted([*told])}, clock=Clock(), metered=("gpu", "cpu"))
    seen = [source.snapshot().energy for _ in told]
    assert seen == [{"nvml": meter}, {"gpu": None}, {"gpu": None}]


def test_without_the_server_there_is_nothing() -> None:
    source, gpu = Scene([None], [heat(60.0)]).source()
    with pytest.raises(TargetUnavailableError):
        source.snapshot()
    assert gpu.asked == 0


def test_a_source_that_refuses_its_query_is_absent_too() -> None:
    class Refuses:
        def snapshot(self) -> Snapshot:
            raise TargetError("parse error")

    seen = JoinedSource(Scripted([served(1.0)]), {"cost": Refuses()}).snapshot()
    assert seen.gauges["source_up_cost"] == 0.0
