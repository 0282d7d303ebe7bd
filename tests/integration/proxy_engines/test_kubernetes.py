"""Deployments through lightkube, against an API of ours over real HTTP: no cluster is needed."""

from __future__ import annotations

from collections.abc import Iterator
from http.server import ThreadingHTTPServer
from typing import Any

import pytest

from autotuner.proxy.engines.config import EngineConfig
from autotuner.proxy.ports import EngineFailedError, Fault
from tests.integration.proxy_engines.conftest import SETTINGS, House, ask, run
from tests.integration.proxy_engines.kubernetes_api import Cluster, serve

pytest.importorskip("lightkube")
pytestmark = pytest.mark.process


@pytest.fixture
def cluster(house: House) -> Iterator[Cluster]:
    made = Cluster(house.folder)
    made.add("blue", house.ports[0])
    made.add("green", house.ports[1])
    yield made
    for name in ("blue", "green"):
        made.end(name)


@pytest.fixture
def api(cluster: Cluster) -> Iterator[ThreadingHTTPServer]:
    server = serve(cluster)
    yield server
    server.shutdown()
    server.server_close()


def _config(house: House, api: ThreadingHTTPServer, **told: Any) -> EngineConfig:
    both = [
        {"name": name, "url": f"http://127.0.0.1:{port}"}
        for name, port in zip(("blue", "green"), house.ports, strict=True)
    ]
    launcher = {
        "kind": "kubernetes", "namespace": "ai", "container": "server",
        "deployments": both if told.get("mode") == "blue_green" else both[:1],
        "api_url": f"http://127.0.0.1:{api.server_address[1]}", **told.pop("launcher", {}),
    }  # fmt: skip
    return house.config(launcher=launcher, **told)


def test_args_are_replaced_and_other_words_stay(
    house: House, cluster: Cluster, api: ThreadingHTTPServer
) -> None:
    async def story() -> None:
        async with house.running(_config(house, api)) as engines:
            assert engines.outage() is None
            await engines.change({**SETTINGS, "max_num_seqs": 128}, house.switch)
            container = cluster.deployments["blue"]["spec"]["template"]["spec"]["containers"][0]
            assert container["args"] == [
                *("--port", str(house.ports[0]), "--enable-prefix-caching"),
                *("--gpu-memory-utilization", "0.9", "--max-num-seqs", "128"),
            ]
            assert {"replicas": 0} in [change["spec"] for change in cluster.patches]
        # The Deployment is the cluster's: it stays, and is adopted.
        async with house.running(_config(house, api)) as engines:
            assert engines.settings()["max_num_seqs"] == 128
            assert cluster.count == 2

    run(story())


def test_flags_in_a_variable_leave_args_alone(
    house: House, cluster: Cluster, api: ThreadingHTTPServer
) -> None:
    async def story() -> None:
        config = _config(house, api, launcher={"variable": "FLAGS"})
        async with house.running(config):
            container = cluster.deployments["blue"]["spec"]["template"]["spec"]["containers"][0]
            assert "--max-num-seqs=7" in container["args"]
            flags = "--gpu-memory-utilization 0.9 --max-num-seqs 64"
            assert container["env"] == [{"name": "FLAGS", "value": flags}]

    run(story())


def test_blue_green_over_two_deployments(
    house: House, cluster: Cluster, api: ThreadingHTTPServer
) -> None:
    async def story() -> None:
        async with house.running(_config(house, api, mode="blue_green")) as engines:
            await engines.change({**SETTINGS, "max_num_seqs": 128}, house.switch)
            assert list(cluster.pods) == ["green"]
            assert engines.backends()[0].name == "green"

    run(story())


def test_a_crash_loop_is_told_from_what_kubernetes_kept(
    house: House, cluster: Cluster, api: ThreadingHTTPServer
) -> None:
    async def story() -> None:
        async with house.running(_config(house, api)) as engines:
            with pytest.raises(EngineFailedError) as failed:
                await engines.change({**SETTINGS, "gpu_memory_utilization": 0.1}, house.switch)
            assert failed.value.fault is Fault.START_KV
            assert engines.settings() == SETTINGS
            assert await ask(engines, "/health") == 200

    run(story())


def test_an_oom_kill_is_told_and_the_pod_comes_back(
    house: House, cluster: Cluster, api: ThreadingHTTPServer
) -> None:
    async def story() -> None:
        async with house.running(_config(house, api, healthy_s=0.001)) as engines:
            cluster.pods["blue"].reason = "OOMKilled"
            await ask(engines, "/do?what=kill")
            died, back = await house.event(), await house.event()
            assert (died.kind, died.fault) == ("died", Fault.KILLED)
            assert "OOMKilled" in died.message
            assert back.kind == "restarted"

    run(story())


def test_an_edit_of_the_deployment_is_seen(
    house: House, cluster: Cluster, api: ThreadingHTTPServer
) -> None:
    async def story() -> None:
        async with house.running(_config(house, api)) as engines:
            port = str(house.ports[0])
            args = ["--port", port, "--max-num-seqs", "32", "--gpu-memory-utilization", "0.9"]
            containers = [{"name": "server", "args": args}]
            cluster.patch("blue", {"spec": {"template": {"spec": {"containers": containers}}}})
            assert (await house.event()).kind == "edited"
            assert engines.settings()["max_num_seqs"] == 32

    run(story())


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"deployments": [{"name": "red", "url": "http://127.0.0.1:1"}]}, "not found"),
        ({"container": "x"}, "container='x' is not there; give one of server, logs"),
        ({"api_url": "http://127.0.0.1:1"}, "deployment blue"),
    ],
)
def test_what_the_cluster_does_not_have_is_told(
    house: House, cluster: Cluster, api: ThreadingHTTPServer, wrong: dict[str, Any], said: str
) -> None:
    async def story() -> None:
        async with house.running(_config(house, api, launcher=wrong)) as engines:
            assert said in str(engines.outage())

    run(story())
