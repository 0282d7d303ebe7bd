from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from autotuner.worker.engine_options import EngineOptions
from autotuner.worker.model_config import ModelError
from autotuner.worker.parallel.errors import GroupError
from autotuner.worker.parallel.grid import Grid
from autotuner.worker.parallel.order import Meeting, Order, Seat, device_name
from autotuner.worker.parallel.torchrun import Address, TorchrunHosts, place_of
from autotuner.worker.parallel.world import World
from autotuner.worker.settings import WorkerSettings

ENVIRONMENT = {
    "TORCHELASTIC_USE_AGENT_STORE": "True",
    "RANK": "3",
    "WORLD_SIZE": "4",
    "LOCAL_RANK": "1",
    "LOCAL_WORLD_SIZE": "2",
    "MASTER_ADDR": "127.0.0.1",
    "MASTER_PORT": "29500",
}


def options_of(tensor: int, stages: int, replicas: int = 1, replica: int = 0) -> EngineOptions:
    settings = WorkerSettings(
        tensor_parallel_size=tensor, pipeline_parallel_size=stages, data_parallel_size=replicas
    )
    return EngineOptions(Path("model"), settings=settings, replica=replica)


def test_every_layer_and_part_has_one_rank() -> None:
    grid = Grid(3, 2)
    shards = [grid.shard(rank, None) for rank in range(grid.size)]
    assert len({(shard.rank, shard.stage) for shard in shards}) == grid.size == 6
    for stage in range(2):
        own = [shards[rank] for rank in grid.stage_ranks(stage)]
        assert {shard.stage for shard in own} == {stage}
        assert [shard.rank for shard in own] == [0, 1, 2]
    assert shards[grid.speaker].is_last_stage
    assert shards[grid.speaker].rank == 0


def test_an_order_crosses_as_text() -> None:
    order = Order(
        2, Meeting("10.0.0.1", 4711, "x/y"), Seat(Path("/there/model"), 1), options_of(2, 3)
    )
    assert Order.from_json(order.to_json()) == order
    assert order.own_options().model == Path("/there/model")
    address = Address("10.0.0.2", 4712, "ab", "/there/model", 1)
    assert Address.from_json(address.to_json()) == address


def test_a_rank_takes_adapters_from_its_own_machine() -> None:
    address = Address("10.0.0.2", 4712, "ab", "/there/model", 1, "/there/adapters")
    options = replace(
        options_of(2, 3), adapters=Path("here"), settings=WorkerSettings(weights="v1")
    )
    order = Order(2, Meeting("10.0.0.1", 4711, "x/y"), address.seat, options)
    assert Order.from_json(order.to_json()) == order
    assert order.own_options().adapter == Path("/there/adapters/v1")
    lacking = replace(order, seat=replace(address, adapters=None).seat)
    with pytest.raises(ModelError, match="on every machine"):
        _ = lacking.own_options().adapter


@pytest.mark.parametrize(
    ("kind", "device"), [("cpu", "cpu"), ("cuda", "cuda:3"), ("cuda:1", "cuda:1")]
)
def test_a_rank_has_a_gpu_of_its_own(kind: str, device: str) -> None:
    assert device_name(kind, 3) == device


@pytest.mark.parametrize("sizes", [(2, 1, 2), (2, 2, 2), (1, 3, 3), (4, 1, 1), (1, 1, 4)])
def test_replicas_share_no_place_and_leave_none_out(sizes: tuple[int, int, int]) -> None:
    tensor, stages, replicas = sizes
    places = [
        place_of(options_of(tensor, stages, replicas, replica), rank)
        for replica in range(replicas)
        for rank in range(tensor * stages)
    ]
    assert sorted(places) == list(range(tensor * stages * replicas))


def test_a_leader_needs_the_first_machine_and_a_rank_a_place() -> None:
    hosts = TorchrunHosts(World.from_environment(ENVIRONMENT))
    assert hosts.seat_of_leader(options_of(1, 1, 3, replica=1)).device_index == 1
    with pytest.raises(GroupError, match="data_parallel_size=3"):
        hosts.seat_of_leader(options_of(1, 1, 3, replica=2))
    with pytest.raises(GroupError, match="no place among torchrun's 4"):
        hosts.start(options_of(5, 1), 4)


def test_a_world_is_torchruns() -> None:
    world = World.from_environment(ENVIRONMENT)
    assert (world.rank, world.local_rank, world.attempt) == (3, 1, "0")
    with pytest.raises(GroupError, match="start the ranks with torchrun"):
        World.from_environment({"RANK": "0"})
