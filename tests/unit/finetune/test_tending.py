"""When the daemon begins a run, when it ends one, and what it tells of it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from autotuner.domain.fine_tuning import FineTune, Stage
from autotuner.fine_tuning_gauges import FineTuningGauges
from autotuner.finetune.tending import Tending
from tests.unit.finetune.runs import configured, opened

MIDNIGHT = 20_000 * 86400.0
HOUR = 3600.0


@dataclass
class Process:
    code: int | None = None
    ended: int = 0

    def poll(self) -> int | None:
        return self.code

    def terminate(self) -> None:
        self.ended += 1


@dataclass
class House:
    tending: Tending
    registry: CollectorRegistry
    processes: list[Process] = field(default_factory=list)

    def start(self) -> Process:
        self.processes.append(Process())
        return self.processes[-1]

    def tend(self, *hours: float) -> int:
        """How many runs were begun up to then."""
        for hour in hours:
            self.tending.tend(MIDNIGHT + hour * HOUR)
        return len(self.processes)

    def gauge(self, name: str, **labels: str) -> float:
        value = self.registry.get_sample_value(
            f"autotuner_finetune{name}", {"target": "chat", **labels}
        )
        assert value is not None
        return value


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    history, config = opened(tmp_path), configured(tmp_path)
    history.record_target("chat", kind="worker", url="http://127.0.0.1:1", at=1.0)
    assert config.learn is not None
    registry = CollectorRegistry()
    made: list[House] = []
    tending = Tending(
        history, "chat", config.learn, lambda: made[0].start(), FineTuningGauges(registry)
    )
    made.append(House(tending, registry))
    yield made[0]
    history.close()


def test_a_run_begins_at_each_time_of_the_day(house: House) -> None:
    assert house.tend(1.0, 1.9) == 0, "the first start waits for the next time"
    assert house.tend(2.01) == 1
    house.processes[0].code = 0
    assert house.tend(2.02, 9.9) == 1
    assert house.tend(10.0) == 2
    assert house.tend(18.5) == 2, "while one runs, none is begun"


def test_what_was_left_unfinished_is_gone_on_with(house: House) -> None:
    house.tend(1.0)
    tune = house.tending.history.record_fine_tune(FineTune("chat", "v1", "base", (1,), 1.0, 1.0))
    assert house.tend(1.1) == 1
    house.processes[0].code = -9
    assert house.tend(1.101) == 1, "not at once: something may be broken"
    assert house.tend(1.2) == 2
    house.processes[1].code = 0
    house.tending.history.record_fine_tune(tune.to(Stage.FAILED, 2.0))
    assert house.tend(1.3, 1.4) == 2


def test_a_run_that_takes_too_long_is_ended(house: House) -> None:
    house.tend(1.0, 2.0, 7.9)
    assert house.processes[0].ended == 0
    house.tend(8.01)
    assert house.processes[0].ended == 1


def test_a_run_of_somebody_else_is_left_alone(house: House) -> None:
    house.tend(1.0)
    with house.tending.places.locked():
        assert house.tend(2.0) == 0


def test_a_training_is_told_as_a_series_and_as_metrics(house: House) -> None:
    now = MIDNIGHT + HOUR
    house.tend(1.0)
    assert house.tending.readings(now) == {}
    assert math.isnan(house.gauge("_gradient_update_seconds"))
    told = {"name": "v1", "at": now, "step": 3, "steps": 12, "loss": 1.5}
    house.tending.places.tell_progress({**told, "gradient_update_s": 0.25})
    assert house.tending.readings(now + 59) == {"gradient_update_s": 0.25}
    assert house.tending.readings(now + 61) == {}, "what a run that ended said is no reading"
    house.tend(1.001)
    assert house.gauge("_gradient_update_seconds") == 0.25
    assert house.gauge("_progress_ratio") == 0.25
    assert house.gauge("_loss") == 1.5
    house.tending.history.record_fine_tune(FineTune("chat", "v1", "base", (1,), 1.0, 1.0))
    house.tend(1.002)
    assert house.gauge("s", stage="planned") == 1
    assert house.gauge("s", stage="promoted") == 0
