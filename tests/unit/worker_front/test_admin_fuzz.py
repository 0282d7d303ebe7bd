"""The worker's admin routes against made-up requests: no fault, and no change without the token."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from autotuner.worker.app import make_app
from autotuner.worker.engine_options import EngineOptions
from autotuner.worker.live_settings import InForce, LiveSettings
from autotuner.worker.messages import ApplySettings
from autotuner.worker.options import WorkerOptions
from autotuner.worker.settings import Limits, WorkerSettings
from autotuner.worker.worker import Worker
from tests.integration.worker_front.fake_engine import write_model

TOKEN = "a-token-of-16-characters"
HOLDER = {"Authorization": f"Bearer {TOKEN}"}
KNOBS = sorted(vars(WorkerSettings()))
READING = ("settings", "exposures", "steps", "feedback", "features")
FEW = settings(
    max_examples=60,
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
LEAVES = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.just("fcfs")
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=6,
)
NAMES = st.sampled_from(KNOBS) | st.text(max_size=6)
CHANGES = st.fixed_dictionaries(
    {
        "generation": st.integers(0, 3) | VALUES,
        "settings": st.dictionaries(NAMES, VALUES, max_size=3) | VALUES,
    },
    optional={"boot_id": VALUES, "reason": VALUES, "more": VALUES},
)
BODIES = CHANGES.map(lambda body: json.dumps(body).encode()) | st.binary(max_size=40)


class Engines:
    """Confirm at once whatever they are asked."""

    settings: LiveSettings

    async def apply(self, message: ApplySettings) -> None:
        self.settings.on_in_force(InForce(message.settings, message.generation, 7.0))

    async def rebuild(self, message: ApplySettings) -> None:
        await self.apply(message)


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    model = write_model(tmp_path_factory.mktemp("worker") / "model")
    made = Worker(WorkerOptions(EngineOptions(model), admin_token=TOKEN), lambda reason: None)
    engines = Engines()
    made.settings = LiveSettings(made.boot_id, InForce(WorkerSettings(), 1, 0.0), engines)
    engines.settings = made.settings
    made.limits = Limits(64, 4096, max_ranks=4, max_threads=4)
    made.front.outage = None
    yield made
    made.pipeline.close()


@pytest.fixture(scope="module")
def client(worker: Worker) -> TestClient:
    return TestClient(make_app(worker), raise_server_exceptions=False)


def put(client: TestClient, body: bytes, headers: dict[str, str]) -> Any:
    return client.put("/admin/settings", content=body, headers=headers)


@FEW
@given(body=BODIES)
def test_no_body_makes_a_fault(client: TestClient, body: bytes) -> None:
    answer = put(client, body, HOLDER)
    assert answer.status_code in (200, 409, 413, 422), answer.text
    assert json.loads(answer.text)


@FEW
@given(body=BODIES, shown=st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=30))
def test_nothing_changes_without_the_token(
    client: TestClient, worker: Worker, body: bytes, shown: str
) -> None:
    before = worker.settings.in_force
    assert put(client, body, {"Authorization": f"Bearer {shown}"}).status_code == 401
    assert put(client, body, {}).status_code == 401
    assert worker.settings.in_force == before


@FEW
@given(route=st.sampled_from(READING), after=VALUES, limit=VALUES)
def test_no_cursor_makes_a_fault(client: TestClient, route: str, after: Any, limit: Any) -> None:
    query = {"after": ascii(after), "limit": ascii(limit)}
    answer = client.get(f"/admin/{route}", params=query, headers=HOLDER)
    assert answer.status_code < 500, answer.text
    assert client.get(f"/admin/{route}", params=query).status_code == 401


def test_a_change_is_possible_at_all(client: TestClient, worker: Worker) -> None:
    generation = worker.settings.in_force.generation
    body = {"generation": generation, "settings": {"max_num_seqs": 3}}
    assert put(client, json.dumps(body).encode(), HOLDER).status_code == 200
    assert worker.settings.in_force.settings.max_num_seqs == 3
