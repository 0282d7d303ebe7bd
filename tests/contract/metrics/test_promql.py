"""The query API's answers, as a Prometheus server gives them, over a real socket."""

from __future__ import annotations

import contextlib
import json
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs

import pytest

from autotuner.domain.energy import Meter
from autotuner.domain.errors import TargetError, TargetUnavailableError
from autotuner.metrics.prometheus import (
    PrometheusHardwareSource,
    PrometheusServerSource,
    QuerySource,
)
from autotuner.metrics.promql import PromQL
from tests.contract.metrics.serving import Handler, serving

pytestmark = pytest.mark.process


@dataclass
class Api:
    """One answer to everything, and what was asked."""

    content: bytes
    status: int = 200
    delay_s: float = 0.0
    asked: list[tuple[str, dict[str, str], str | None]] = field(default_factory=list)


@contextlib.contextmanager
def answering(api: Api) -> Iterator[str]:
    class Query(Handler):
        def do_POST(self) -> None:
            form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
            one = {name: values[0] for name, values in form.items()}
            api.asked.append((self.path, one, self.headers.get("Authorization")))
            time.sleep(api.delay_s)
            self.answer(api.status, api.content)

    with serving(Query) as url:
        yield url


@contextlib.contextmanager
def client(api: Api, token: str | None = None, timeout_s: float = 5.0) -> Iterator[PromQL]:
    with answering(api) as url:
        made = PromQL(url + "/", token, timeout_s)
        yield made
        made.close()


def answer(kind: str, result: Any) -> bytes:
    data = {"resultType": kind, "result": result}
    return json.dumps({"status": "success", "data": data, "warnings": ["of no account"]}).encode()


def raw(*series: tuple[dict[str, str], list[tuple[float, str]]]) -> bytes:
    return answer("matrix", [{"metric": labels, "values": points} for labels, points in series])


@pytest.mark.parametrize(
    ("content", "points"),
    [
        (answer("vector", [{"metric": {"a": "b"}, "value": [9.5, "3"]}]), [(9.5, 3.0)]),
        (answer("scalar", [9.5, "+Inf"]), [(9.5, math.inf)]),
        (raw(({}, [(9, "1"), (10.5, "1e3")])), [(9.0, 1.0), (10.5, 1000.0)]),
        (answer("string", [9.5, "text"]), None),
        (answer("vector", []), None),
        (answer("vector", [{"metric": {}, "histogram": [9.5, {"count": "3"}]}]), None),
    ],
)
def test_every_kind_of_answer(content: bytes, points: list[tuple[float, float]] | None) -> None:
    api = Api(content)
    with client(api) as server:
        found = server.instant("up")
    assert [list(one.points) for one in found] == ([] if points is None else [points])
    assert api.asked == [("/api/v1/query", {"query": "up", "timeout": "5000ms"}, None)]


def test_a_range_asks_for_its_ends_and_shows_the_token() -> None:
    api = Api(raw(({"a": "1"}, [(1, "NaN")])))
    with client(api, token="secret") as server:
        (found,) = server.range("up", 1.5, 61.5, 15.0)
    assert found.labels == {"a": "1"}
    assert math.isnan(found.points[0][1])
    path, form, token = api.asked[0]
    assert (path, token) == ("/api/v1/query_range", "Bearer secret")
    assert (form["start"], form["end"], form["step"]) == ("1.5", "61.5", "15.0")


REFUSED = b'{"status":"error","errorType":"bad_data","error":"parse error: unclosed"}'


@pytest.mark.parametrize(
    ("api", "kind", "said"),
    [
        (Api(REFUSED, 400), TargetError, "refuses 'up': parse error: unclosed"),
        (Api(b"Bad Gateway", 502), TargetUnavailableError, "answered 502, not as a Prometheus"),
        (Api(b"[]", 200), TargetUnavailableError, "not as a Prometheus"),
        (Api(b'{"status":"success"}', 200), TargetUnavailableError, "without data"),
        (
            Api(answer("vector", [{"metric": {}, "value": [1, "x"]}])),
            TargetUnavailableError,
            "could not convert",
        ),
        (Api(b"", delay_s=0.5), TargetUnavailableError, "no answer"),
    ],
)
def test_no_usable_answer_is_an_error(api: Api, kind: type[TargetError], said: str) -> None:
    with client(api, timeout_s=0.2) as server, pytest.raises(kind, match=said) as caught:
        server.instant("up")
    assert type(caught.value) is kind


def sample(name: str, points: list[tuple[float, str]], **labels: str) -> Any:
    return ({"__name__": name, "job": "llm", "instance": "a:1", **labels}, points)


def test_a_snapshot_is_the_newest_scrape_at_its_own_time() -> None:
    api = Api(
        raw(
            sample("vllm:num_requests_running", [(10.0, "1"), (25.0, "3")], engine="0"),
            sample("vllm:num_requests_running", [(10.0, "9")], engine="1"),  # it ended
            sample("vllm:request_success_total", [(25.0, "40")], finished_reason="stop"),
            sample("process_start_time_seconds", [(10.0, "5"), (25.0, "5")]),
        )
    )
    with client(api) as server:
        source = PrometheusServerSource(server, 'job="llm"', max_age_s=90)
        seen = source.snapshot()
    assert seen.at == 25.0
    assert seen.gauges == {"running": 3.0, "started_at": 5.0}
    assert seen.counters == {"requests": 40.0, "requests_stop": 40.0}
    assert "waiting" in source.seen.missing
    query = api.asked[0][1]["query"]
    assert query.endswith(', job="llm"}[90000ms]')
    assert "vllm:.+" in query


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (raw(), r"no scrape of the last 60 s.*selector"),
        (raw(sample("process_start_time_seconds", [(1, "5")])), "no metrics of the worker"),
        (
            raw(
                sample("vllm:num_requests_running", [(1, "1")]),
                sample("vllm:num_requests_running", [(1, "1")], instance="b:1"),
            ),
            r'instance="a:1".*instance="b:1".*one selector per replica',
        ),
    ],
)
def test_what_is_no_single_server_is_no_snapshot(content: bytes, said: str) -> None:
    with (
        client(Api(content)) as server,
        pytest.raises(TargetUnavailableError, match=said),
    ):
        PrometheusServerSource(server, 'job="llm"').snapshot()


def test_gpus_of_several_hosts_and_one_host_of_node_exporters() -> None:
    watts = [
        sample("DCGM_FI_DEV_POWER_USAGE", [(9, "200")], UUID=uuid, instance=uuid) for uuid in "ab"
    ]
    with client(Api(raw(*watts))) as server:
        seen = PrometheusHardwareSource(server, "dcgm", 'job="dcgm"').snapshot()
        assert (seen.at, seen.gauges, seen.counters) == (9.0, {"power_w": 400.0}, {})
        assert seen.energy == {"dcgm": Meter(power_w={"a": 200.0, "b": 200.0})}
    loads = [sample("node_vmstat_oom_kill", [(9, "1")], instance=host) for host in "ab"]
    with (
        client(Api(raw(*loads))) as server,
        pytest.raises(TargetUnavailableError, match="several servers"),
    ):
        PrometheusHardwareSource(server, "node", 'job="node"').snapshot()


@pytest.mark.parametrize(
    ("content", "gauges"),
    [
        (answer("vector", [{"metric": {}, "value": [9, "0.93"]}]), {"accuracy": 0.93}),
        (answer("scalar", [9, "2"]), {"accuracy": 2.0}),
        (answer("scalar", [9, "NaN"]), {}),
        (answer("vector", []), {}),
    ],
)
def test_a_query_without_a_number_is_absent(content: bytes, gauges: dict[str, float]) -> None:
    with client(Api(content)) as server:
        seen = QuerySource(server, "accuracy", "avg(a)").snapshot()
    assert seen.gauges == gauges


def test_a_query_of_several_series_is_an_error_with_the_fix() -> None:
    several = answer("vector", [{"metric": {"a": a}, "value": [9, "1"]} for a in "xy"])
    with (
        client(Api(several)) as server,
        pytest.raises(TargetUnavailableError, match=r"'up' gives 2 series.*avg\(\)"),
    ):
        QuerySource(server, "accuracy", "up").snapshot()
