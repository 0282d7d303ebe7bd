"""One suite for whatever implements `domain.ports.Target`: in memory, the worker and the proxy.

The worker is the real front on a real socket; the engine behind it repeats its prompt. The proxy
stands in front of such a worker. Each is also tried as the replicas of a split target.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from autotuner.domain.errors import (
    SettingsRefusedError,
    StaleGenerationError,
    TargetUnavailableError,
)
from autotuner.domain.knobs import Settings, Value
from autotuner.domain.ports import LiveSettings
from autotuner.domain.telemetry import Outcome
from tests.contract.targets.worlds import KINDS, World, made

pytestmark = pytest.mark.process


@pytest.fixture(scope="module", params=KINDS)
def shared_world(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    with made(request.param, tmp_path_factory.mktemp("world")) as world:
        yield world


@pytest.fixture
def world(shared_world: World) -> World:
    """A target that others have used before, back at its first settings."""
    applied(shared_world, shared_world.target.read_settings(), **shared_world.initial)
    return shared_world


@pytest.fixture(params=KINDS)
def mortal_world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    """A target of the test's own, which it may end."""
    with made(request.param, tmp_path) as world:
        yield world


def newest(world: World) -> int:
    return world.target.exposures(0).next


def applied(world: World, live: LiveSettings, **changes: Value) -> LiveSettings:
    return world.target.apply(Settings({**live.settings, **changes}), live, "a test")


def test_what_runs_is_read_back(world: World) -> None:
    live = world.target.read_settings()
    assert dict(live.settings) == world.initial
    assert live.generation >= 1
    assert live.boot_id
    assert live.applied_at <= live.now
    assert world.target.read_settings().now >= live.now


def test_capabilities_say_what_each_knob_takes(world: World) -> None:
    assert world.target.capabilities() == world.knobs


def test_applying_raises_the_generation_and_runs(world: World) -> None:
    before = world.target.read_settings()
    now = applied(world, before, max_num_seqs=8, schedule_policy="length-grouped")
    assert now.generation == before.generation + world.replicas
    assert now.boot_id == before.boot_id
    assert now.settings["max_num_seqs"] == 8
    read = world.target.read_settings()
    assert (read.generation, dict(read.settings)) == (now.generation, dict(now.settings))
    assert read.applied_at >= before.applied_at


def test_the_same_settings_are_a_new_generation(world: World) -> None:
    first = world.target.read_settings()
    second = applied(world, first)
    assert second.generation == first.generation + world.replicas
    assert dict(second.settings) == dict(first.settings)


def test_knobs_that_are_not_named_stay(world: World) -> None:
    live = world.target.read_settings()
    now = world.target.apply(Settings({"batch_timeout_ms": 5}), live, "")
    assert dict(now.settings) == {**world.initial, "batch_timeout_ms": 5}


def test_a_stale_generation_changes_nothing(world: World) -> None:
    old = world.target.read_settings()
    now = applied(world, old, max_num_seqs=4)
    with pytest.raises(StaleGenerationError):
        applied(world, old, max_num_seqs=16)
    assert world.target.read_settings().generation == now.generation
    assert world.target.read_settings().settings["max_num_seqs"] == 4


@pytest.mark.parametrize(
    "change",
    [
        {"max_num_seqs": 0},
        {"max_num_seqs": 65},
        {"max_num_seqs": True},
        {"schedule_policy": "random"},
        {"no_such_knob": 1},
    ],
)
def test_a_refused_setting_changes_nothing_and_is_named(
    world: World, change: dict[str, Value]
) -> None:
    live = world.target.read_settings()
    with pytest.raises(SettingsRefusedError, match=next(iter(change))):
        applied(world, live, **change)
    assert world.target.read_settings().generation == live.generation


def test_exposures_are_read_by_cursor(world: World) -> None:
    start = newest(world)
    empty = world.target.exposures(start)
    assert (empty.next, empty.exposures, empty.overrun) == (start, (), False)
    world.serve(3)
    world.serve(1)
    batch = world.target.exposures(start)
    assert [e.seq for e in batch.exposures] == [start + 1, start + 2]
    assert batch.next == start + 2
    assert batch.boot_id == world.target.read_settings().boot_id
    world.serve(2)
    assert [e.output_tokens for e in world.target.exposures(batch.next).exposures] == [2]


def test_an_exposure_tells_what_was_served_and_under_which_generation(world: World) -> None:
    start, generation = newest(world), world.target.read_settings().generation
    world.serve(3)
    applied(world, world.target.read_settings())
    world.serve(1)
    first, second = world.target.exposures(start).exposures
    assert (first.generation_start, first.generation_end) == (generation, generation)
    later = generation + world.replicas
    assert (second.generation_start, second.generation_end) == (later, later)
    assert first.outcome is Outcome.LENGTH
    assert first.served
    assert first.output_tokens == 3
    assert first.prompt_tokens > 0
    assert first.ttft_s is not None
    assert first.tpot_s is not None
    assert first.gap_max_s is not None
    assert (second.tpot_s, second.gap_max_s) == (None, None)
    assert second.arrival > first.arrival


def test_nothing_is_in_flight_when_all_is_served(world: World) -> None:
    world.serve(2)
    assert sum(world.target.exposures(0).in_flight.values()) == 0


def test_steps_are_read_by_cursor(world: World) -> None:
    _, start = world.target.steps(0)
    world.serve(3)
    steps, cursor = world.target.steps(start)
    if world.tells_steps:
        assert cursor > start
        assert sum(step.prefill_tokens for step in steps) > 0
    assert all(step.step_s >= 0 for step in steps)
    again, same = world.target.steps(cursor)
    assert (list(again), same) == ([], cursor)


def test_a_target_that_is_gone_is_unavailable(mortal_world: World) -> None:
    live = mortal_world.target.read_settings()
    mortal_world.end()
    for call in (
        mortal_world.target.read_settings,
        mortal_world.target.capabilities,
        lambda: mortal_world.target.exposures(0),
        lambda: mortal_world.target.steps(0),
        lambda: applied(mortal_world, live),
    ):
        with pytest.raises(TargetUnavailableError):
            call()


def test_a_restart_is_a_new_boot_with_an_empty_log(mortal_world: World) -> None:
    old = mortal_world.target.read_settings()
    mortal_world.serve(1)
    mortal_world.end()
    mortal_world.again()
    new = mortal_world.target.read_settings()
    assert new.boot_id != old.boot_id
    assert new.generation == mortal_world.replicas
    assert (mortal_world.target.exposures(0).exposures, newest(mortal_world)) == ((), 0)
    with pytest.raises(StaleGenerationError):
        applied(mortal_world, old)
