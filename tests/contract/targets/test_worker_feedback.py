"""Users' scores, from the worker's real front to the domain's values."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from autotuner.targets.worker import WorkerTarget
from tests.contract.targets.worlds import WorkerWorld

pytestmark = pytest.mark.process


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[WorkerWorld]:
    world = WorkerWorld(tmp_path)
    yield world
    world.end()


def test_a_score_is_told_with_the_id_of_its_request_and_the_later_one_last(
    worker: WorkerWorld,
) -> None:
    target = worker.target
    assert isinstance(target, WorkerTarget)
    assert target.feedback(0) == ([], 0)
    worker.serve(2)
    worker.serve(2)
    first, second = (exposure.id for exposure in target.exposures(0).exposures)
    url = worker._url
    for request_id, score in ((first, 0.25), (second, True), (first, 0.75)):
        body = {"id": request_id, "score": score}
        assert requests.post(f"{url}/v1/feedback", json=body, timeout=10).ok
    seen, cursor = target.feedback(0)
    assert [(score.request_id, score.score) for score in seen] == [(second, 1.0), (first, 0.75)]
    assert seen[0].at <= seen[1].at <= target.read_settings().now
    assert target.feedback(cursor) == ([], cursor)
