"""The life of a server: changes, deaths, edits, half-made changes. No process, no waiting."""

from __future__ import annotations

import asyncio
import itertools
from typing import Literal

import pytest

from autotuner.proxy.engines.launchers.port import Exit, Place
from autotuner.proxy.engines.record import Record, Standing
from autotuner.proxy.ports import EngineFailedError, Fault
from tests.unit.proxy.engines_fakes import FIRST, OOM, PLACES, Made, World, make

NEW = {"max_num_seqs": 128}
Mode = Literal["in_place", "blue_green"]


def play(world: World, *acts: object, mode: Mode = "in_place", **told: bool) -> Made:
    """Starts, then does each act: a dict is a change, a callable happens, "look" is a look."""

    async def story() -> Made:
        made = make(world, mode, **told)
        await made.manager.start()
        for act in acts:
            if isinstance(act, dict):
                await made.manager.change(act, world.switch)
            elif act == "look":
                await made.watcher.look(world.hear)
            elif callable(act):
                act()
        return made

    return asyncio.run(story())


def fails(world: World, change: dict[str, int], mode: Mode, **told: bool) -> EngineFailedError:
    with pytest.raises(EngineFailedError) as failed:
        play(world, change, mode=mode, **told)
    return failed.value


def kinds(world: World) -> list[str]:
    return [event.kind for event in world.events]


def when(max_num_seqs: int, fate: str, world: World) -> World:
    world.fate = lambda s: fate if s["max_num_seqs"] == max_num_seqs else ""
    return world


def test_in_place_goes_on_only_when_the_new_one_is_warm() -> None:
    world = World()
    made = play(world, NEW)
    assert world.story == [
        "start blue 64", "hold", "stop blue", "start blue 128", "switch blue", "free",
    ]  # fmt: skip
    assert (made.manager.settings(), made.manager.outage()) == (NEW, None)


def test_blue_green_switches_before_it_ends_the_old() -> None:
    world = World()
    made = play(world, NEW, mode="blue_green")
    assert world.story == ["start blue 64", "start green 128", "switch green", "stop blue"]
    assert made.manager.backends()[0].url == "http://green"


@pytest.mark.parametrize("mode", ["in_place", "blue_green"])
@pytest.mark.parametrize(
    ("fate", "fault"),
    [
        ("dies", Fault.START_MEMORY),
        ("never", Fault.HUNG),
        ("chokes", Fault.RUN_MEMORY),
    ],
)
def test_each_failure_is_told_and_nothing_of_it_stays(mode: Mode, fate: str, fault: Fault) -> None:
    world = when(128, fate, World())
    assert fails(world, NEW, mode, retry_in_place=False).fault is fault
    assert [name for name, run in world.runs.items() if run.running] == ["blue"]
    assert not [act for act in world.story if act.startswith("switch")]
    assert world.store.record.other is None


def test_no_room_beside_the_old_one_is_tried_in_its_place() -> None:
    world = World(room_for=1)
    made = play(world, NEW, mode="blue_green")
    assert made.manager.settings() == NEW
    assert "hold" in world.story
    assert fails(World(room_for=1), NEW, "blue_green", retry_in_place=False).fault is (
        Fault.START_MEMORY
    )


def test_both_settings_fail_and_the_old_are_tried_on() -> None:
    world = World()
    made = make(world)

    async def story() -> None:
        await made.manager.start()
        world.fate = lambda _settings: "dies"
        with pytest.raises(EngineFailedError, match="did not start again either"):
            await made.manager.change(NEW, world.switch)
        assert "did not start again" in str(made.manager.outage())
        starts = len(world.story)
        for _ in range(6):
            await made.watcher.look(world.hear)
        assert len(world.story) > starts
        world.fate = lambda _settings: ""
        world.clock.time += 60
        await made.watcher.look(world.hear)
        assert (made.manager.outage(), made.manager.settings()) == (None, FIRST)
        assert kinds(world) == ["restarted"]

    asyncio.run(story())


def test_tries_after_a_death_wait_longer_and_longer() -> None:
    world = World()
    made = play(world)
    world.fate = lambda _settings: "dies"
    world.die()
    tries = []

    async def story() -> None:
        for _ in range(200):
            before = world.count
            await made.watcher.look(world.hear)
            if world.count > before:
                tries.append(world.clock.time)
            world.clock.time += 1

    asyncio.run(story())
    gaps = [round(b - a) for a, b in itertools.pairwise(tries)]
    assert gaps == [1, 2, 4, 8, 16, 32, 60, 60]


def test_a_death_of_proven_settings_starts_the_same_again() -> None:
    world = World()
    made = play(world, world.die, "look")
    assert kinds(world) == ["died", "restarted"]
    assert world.events[0].fault is Fault.RUN_MEMORY
    assert made.manager.settings() == FIRST


def test_a_death_of_new_settings_goes_back_to_the_proven() -> None:
    world = World()

    def an_hour() -> None:
        world.clock.time += 3600

    made = play(world, an_hour, "look", NEW, world.die, "look")
    assert kinds(world) == ["died", "reverted"]
    assert made.manager.settings() == FIRST
    proven = World()

    def hour() -> None:
        proven.clock.time += 3600

    made = play(proven, hour, "look", NEW, hour, "look", proven.die, "look")
    assert kinds(proven) == ["died", "restarted"]
    assert made.manager.settings() == NEW


def test_a_restart_by_hand_is_taken_as_it_is() -> None:
    same, other, crash = World(), World(), World()
    play(same, lambda: same.restarted_by_hand("--max-num-seqs 64"), "look")
    assert kinds(same) == ["restarted"]
    made = play(other, lambda: other.restarted_by_hand("--max-num-seqs 32"), "look")
    assert (kinds(other), made.manager.settings()) == (["edited"], {"max_num_seqs": 32})
    assert made.manager.outage() is None
    play(crash, lambda: crash.restarted_by_hand("--max-num-seqs 64", Exit(1)), "look")
    assert kinds(crash) == ["died", "restarted"]


def test_a_value_that_the_server_clamps_is_no_edit() -> None:
    world = World(told={"max_num_seqs": 48})

    def later() -> None:
        world.clock.time += 100

    made = play(world, later, "look", NEW, later, "look")
    assert (made.manager.settings(), world.events) == (NEW, [])
    world.told = {"max_num_seqs": 40}
    world.clock.time += 100
    asyncio.run(made.watcher.look(world.hear))
    assert (kinds(world), made.manager.settings()) == (["edited"], {"max_num_seqs": 40})


def test_silence_is_a_fault_only_when_completions_fail_too() -> None:
    world = World()
    made = play(world)
    world.silent = True

    async def looks(count: int) -> None:
        for _ in range(count):
            await made.watcher.look(world.hear)
            world.clock.time += 10

    asyncio.run(looks(6))
    assert world.events == []
    asyncio.run(looks(1))
    assert world.events[0].fault is Fault.HUNG


def later(world: World) -> None:
    world.clock.time += 61


def test_a_server_that_is_well_and_answers_nobody_hangs() -> None:
    world = World()
    made = play(world)
    later(world)
    world.stuck, world.unanswered_s = True, 59.0
    asyncio.run(made.watcher.look(world.hear))
    assert (world.events, world.asked) == ([], 4)  # those of the warm-up: it is not yet time
    world.unanswered_s = 61.0
    world.after_asking = lambda: setattr(world, "unanswered_s", 1.0)
    asyncio.run(made.watcher.look(world.hear))
    assert world.events == []  # full: somebody was answered while the one completion was not
    world.unanswered_s, world.after_asking = 61.0, lambda: setattr(world, "stuck", False)
    asyncio.run(made.watcher.look(world.hear))
    assert kinds(world) == ["died", "restarted"]
    assert world.events[0].fault is Fault.HUNG
    assert "requests got no byte for 60 s" in world.events[0].message


def test_a_server_that_answers_the_one_completion_or_refuses_it_does_not_hang() -> None:
    world = World()
    made = play(world)
    for world.refuses in (None, 401):
        later(world)
        world.unanswered_s += 61.0
        asyncio.run(made.watcher.look(world.hear))
        asked = world.asked
        asyncio.run(made.watcher.look(world.hear))
        assert (world.events, world.asked) == ([], asked)  # nor is it asked at each look


def test_a_change_tells_of_a_hang_and_waits_for_nobody_there() -> None:
    world = World()
    made = play(world)
    later(world)

    async def stuck(change: dict[str, int]) -> None:
        world.stuck, world.after_asking = True, lambda: setattr(world, "stuck", False)
        made.manager._on_event = world.hear
        await made.manager.change(change, world.switch)

    world.unanswered_s = 10.0  # found out while the change waits for those in flight
    world.clock.on_wait = lambda: setattr(world, "unanswered_s", 100.0)
    asyncio.run(stuck(NEW))
    assert kinds(world) == ["died"]
    assert world.story[-6:] == [
        "hold", "enough", "stop blue", "start blue 128", "switch blue", "free",
    ]  # fmt: skip
    assert (made.manager.settings(), made.manager.outage()) == (NEW, None)
    later(world)  # known when the change begins
    asyncio.run(stuck(FIRST))
    assert (kinds(world), made.manager.outage()) == (["died", "died"], None)


def test_a_keeper_that_does_not_answer_is_no_death() -> None:
    world = World()

    def breaks() -> None:
        world.broken = True

    made = play(world, breaks, "look", "look")
    assert (world.events, made.manager.outage()) == ([], None)
    with pytest.raises(EngineFailedError) as failed:
        asyncio.run(made.manager.change(NEW, world.switch))
    assert failed.value.fault is Fault.LAUNCH
    assert not failed.value.fault.of_the_settings
    assert made.manager.outage() is None


def test_a_change_that_cannot_be_put_on_record_is_not_begun() -> None:
    world = World()

    def fills() -> None:
        world.store.full = True

    made = play(world, fills)
    with pytest.raises(OSError, match="No space"):
        asyncio.run(made.manager.change(NEW, world.switch))
    assert (world.story, made.manager.outage()) == (["start blue 64"], None)


@pytest.mark.parametrize(("settings", "said"), [({}, "give all of"), ({"max_num_seqs": 0}, "1 to")])
def test_settings_that_are_none_never_reach_the_server(settings: dict[str, int], said: str) -> None:
    world = World()
    failed = fails(world, settings, "in_place")
    assert (failed.fault, world.story) == (Fault.REFUSED, ["start blue 64"])
    assert said in failed.message


def test_a_taken_port_is_left_for_another() -> None:
    world = World(said=["OSError: [Errno 98] Address already in use"])
    world.fate = lambda _settings: "dies" if world.count == 1 else ""
    made = play(world)
    assert made.manager.backends()[0].url == "http://blue-other"


def test_a_first_start_that_fails_is_an_outage_that_says_why() -> None:
    world = World(fate=lambda _settings: "dies")
    assert OOM in str(play(world).manager.outage())


def _standing(place: Place, seqs: int, identity: str | None) -> Standing:
    return Standing(place, {"max_num_seqs": seqs}, identity, {"max_num_seqs": seqs})


def test_an_earlier_life_is_taken_over() -> None:
    world = World()
    play(world, NEW)
    world.story.clear()
    made = play(world)
    assert (world.story, made.manager.settings()) == ([], NEW)


def test_a_changed_configuration_wins_over_the_record_at_a_start() -> None:
    world = World()
    active = _standing(PLACES[0], 32, "gone")
    world.store.record = Record(active, None, None, configured={"max_num_seqs": 16})
    assert play(world).manager.settings() == FIRST
    world = World()
    world.store.record = Record(active, None, None, configured=FIRST)
    assert play(world).manager.settings() == {"max_num_seqs": 32}


@pytest.mark.parametrize("place", PLACES)
def test_a_half_made_change_is_ended_and_the_old_settings_serve(place: Place) -> None:
    world = World()
    play(world)
    asyncio.run(world.start(place, ["--max-num-seqs", "128"]))
    identity = "run 1" if place.name == "green" else "gone"
    world.store.record = Record(
        _standing(PLACES[0], 64, identity), _standing(place, 128, None), None, FIRST
    )
    made = play(world)
    assert (made.manager.settings(), made.manager.outage()) == (FIRST, None)
    assert [name for name, run in world.runs.items() if run.running] == ["blue"]
    assert world.store.record.other is None
    starts = [act for act in world.story if act == "start blue 64"]
    assert len(starts) == (1 if place.name == "green" else 2)


def test_a_place_that_the_configuration_lost_is_ended() -> None:
    world = World()
    gone = Place("red", "http://red", 3)
    asyncio.run(world.start(gone, ["--max-num-seqs", "64"]))
    world.store.record = Record(_standing(gone, 64, "run 1"), None, None, FIRST)
    made = play(world)
    assert "red" not in world.runs
    assert made.manager.backends()[0].name == "blue"
