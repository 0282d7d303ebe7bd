"""Which settings follow a death; the record; what gates ask; a server that others run."""

from __future__ import annotations

import asyncio
import dataclasses
from pathlib import Path

import pytest

from autotuner.proxy.engines.adopted import AdoptedServer
from autotuner.proxy.engines.client import CompletionError, Reading
from autotuner.proxy.engines.gates import WarmUp, warm_up
from autotuner.proxy.engines.hanging import Hanging
from autotuner.proxy.engines.kinds.vllm import VLLM
from autotuner.proxy.engines.launchers.port import Place
from autotuner.proxy.engines.record import FileStore, Record, Standing
from autotuner.proxy.engines.safety import Track, after_death, proven, wait_s
from autotuner.proxy.ports import Backend, EngineEvent, Fault
from tests.unit.proxy.engines_fakes import World

A, B, C = {"x": 1}, {"x": 2}, {"x": 3}


def test_only_time_makes_settings_safe() -> None:
    track = Track(B, A, C)
    assert proven(track, 119.0, 120.0).safe == A
    assert proven(track, 120.0, 120.0).safe == B


@pytest.mark.parametrize(
    ("track", "order"),
    [
        (Track(B, A, C), [A, A, A, C, C, C, A]),
        (Track(B, None, C), [B, B, B, C, C, C, B]),
        (Track(A, A, A), [A, A, A, A]),
    ],
)
def test_the_order_of_tries(track: Track, order: list[dict[str, int]]) -> None:
    assert [after_death(track, tries) for tries in range(len(order))] == order


def test_waits_are_bounded() -> None:
    assert wait_s(0) == 0
    assert [wait_s(tries) for tries in (1, 2, 7, 10_000)] == [1, 2, 60, 60]


def test_a_record_comes_back_whole_and_a_broken_one_is_none(tmp_path: Path) -> None:
    store = FileStore(tmp_path / "a" / "r.json")
    assert store.load() == Record()
    standing = Standing(Place("p", "http://h:1", 1), A, "7:7", B)
    record = Record(standing, dataclasses.replace(standing, identity=None), A, C)
    store.save(record)
    assert store.load() == record
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["r.json"]
    for broken in ("", "[]", "{}", '{"version": 99}', '{"version": 1, "active": {"x": 1}}'):
        (tmp_path / "a" / "r.json").write_text(broken)
        assert store.load() == Record()


class Asked:
    """A client that notes what it is asked."""

    def __init__(self, reading: Reading, *, healthy: bool = True) -> None:
        self.reading, self.prompts = reading, list[str]()
        self.is_healthy, self.completes = healthy, True

    async def healthy(self, url: str, limit_s: float) -> bool:
        return self.is_healthy

    async def read(self, url: str, limit_s: float) -> Reading:
        return self.reading

    async def complete(
        self, url: str, model: str, prompt: str, max_tokens: int, limit_s: float
    ) -> None:
        self.prompts.append(prompt)
        if not self.completes:
            raise CompletionError("nothing within 30 s")
        if model == "bad" and prompt.startswith("1 "):
            raise CompletionError("no token")

    async def close(self) -> None:
        """Nothing."""


def test_the_warm_up_asks_short_long_and_many_at_once() -> None:
    client = Asked(Reading(model="m"))
    asyncio.run(warm_up(client, "http://h", WarmUp(requests=3, long_prompt_tokens=100)))
    assert [len(prompt.split()) for prompt in client.prompts] == [5, 100, 101, 101, 101]
    assert len({prompt.split()[0] for prompt in client.prompts[2:]}) == 3


def test_a_long_prompt_fits_the_model() -> None:
    client = Asked(Reading(model="m", max_model_len=116))
    asyncio.run(warm_up(client, "http://h", WarmUp(long_prompt_tokens=4000)))
    assert len(client.prompts[1].split()) == 50


@pytest.mark.parametrize(("model", "said"), [("", "names no model"), ("bad", "no token")])
def test_a_warm_up_that_fails_says_why(model: str, said: str) -> None:
    with pytest.raises(CompletionError, match=said):
        asyncio.run(warm_up(Asked(Reading(model=model)), "http://h", WarmUp()))


def adopted(client: Asked, world: World | None = None) -> AdoptedServer:
    world = world or World()
    hanging = Hanging(client, world.clock, world, 60)
    return AdoptedServer(VLLM, Backend("http://h", "h"), client, world.clock, hanging)


def test_a_server_of_others_that_hangs_is_out_until_it_completes_again() -> None:
    client, world = Asked(Reading("m", None, "1")), World()
    server = adopted(client, world)
    heard: list[EngineEvent] = []

    async def story() -> None:
        await server.start()
        world.clock.time += 100
        world.unanswered_s, client.completes = 100, False
        await server._look(heard.append)
        assert "got no byte" in str(server.outage())
        world.unanswered_s = 0.0  # nobody is let through to it now
        await server._look(heard.append)
        assert server.outage() is not None
        client.completes = True
        await server._look(heard.append)

    asyncio.run(story())
    assert (server.outage(), [event.kind for event in heard]) == (None, ["died", "restarted"])


def test_a_server_of_others_is_watched_and_never_changed() -> None:
    client = Asked(Reading("m", None, "1", {"max_num_seqs": 1}, born=1.0))
    server = adopted(client)
    heard: list[EngineEvent] = []

    async def look(times: int = 1) -> None:
        for _ in range(times):
            await server._look(heard.append)

    async def story() -> None:
        await server.start()
        assert (server.outage(), server.server().version, dict(server.knobs())) == (None, "1", {})
        client.reading = dataclasses.replace(client.reading, born=2.0)
        await look()
        client.reading = dataclasses.replace(client.reading, settings={"max_num_seqs": 2})
        await look()
        client.is_healthy = False
        await look(2)
        assert server.outage() is None
        await look(2)
        assert "does not answer" in str(server.outage())
        client.is_healthy = True
        await look()

    asyncio.run(story())
    assert [event.kind for event in heard] == ["restarted", "edited", "died", "restarted"]
    assert heard[2].fault is Fault.HUNG
    assert server.outage() is None


def test_a_server_of_others_that_is_not_there_yet_is_an_outage() -> None:
    client = Asked(Reading(), healthy=False)
    server = adopted(client)
    asyncio.run(server.start())
    assert server.outage()
