"""Probes on a model that answers by rote: order, refusals, the probe after a rebuild."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from dataclasses import replace

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from autotuner.fronts.errors import ApiError
from autotuner.worker.messages import ScoreOutput
from autotuner.worker.metric_maker import MetricMaker
from autotuner.worker.probe.golden import GoldenError
from autotuner.worker.probe.golden_source import GoldenSet
from autotuner.worker.probe.metrics import ProbeMetrics
from autotuner.worker.probe.service import Probe
from autotuner.worker.probe.tokenise import GoldenAnswer
from autotuner.worker.settings import WorkerSettings

HALF = math.log(0.5)
GOLDEN = (
    GoldenAnswer((1, 2), (3, 4), (HALF, HALF), "Paris", 8),
    GoldenAnswer((5,), (6,), (HALF,), None, 8),
)


class Golden:
    def __init__(self, error: GoldenError | None = None) -> None:
        self._error = error
        self.set = GoldenSet("first", GOLDEN)

    async def current(self) -> GoldenSet:
        if self._error is not None:
            raise self._error
        return self.set


class Model:
    """Agrees with every golden token, each at probability one half."""

    def __init__(self) -> None:
        self.asked: list[tuple[list[int], int]] = []
        self.under_way = self.most_under_way = 0
        self.error: str | None = None
        self.log_prob = HALF
        self.on_score: Callable[[], None] = lambda: None

    async def score(self, token_ids: list[int], first: int) -> ScoreOutput:
        self.asked.append((token_ids, first))
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        await asyncio.sleep(0)
        self.under_way -= 1
        self.on_score()
        if self.error is not None:
            return ScoreOutput("id", error=self.error)
        scored = token_ids[first:]
        return ScoreOutput("id", [self.log_prob] * len(scored), scored)

    async def greedy(self, prompt_token_ids: list[int], max_tokens: int) -> str:
        return "It is paris, of course."


class Bench:
    def __init__(self, error: GoldenError | None = None) -> None:
        self.model, self.registry = Model(), CollectorRegistry()
        self.generation = 3
        metrics = ProbeMetrics(MetricMaker(self.registry, "tiny"))
        self.golden = Golden(error)
        self.probe = Probe(self.golden, self.model, lambda: self.generation, metrics)

    def refusal(self, items: int | None = None, first: int = 0) -> ApiError:
        with pytest.raises(ApiError) as caught:
            asyncio.run(self.probe.run(items, first))
        return caught.value

    def metrics(self) -> str:
        return generate_latest(self.registry).decode()


def test_all_items_are_scored_from_their_answers_first_token() -> None:
    bench = Bench()
    result = asyncio.run(bench.probe.run())
    assert bench.model.asked == [([1, 2, 3, 4], 2), ([5, 6], 1)]
    assert (result.items, result.tokens, result.generation) == (2, 3, 3)
    assert result.agreement == 1.0
    assert result.perplexity == pytest.approx(2.0)
    assert result.mean_log_prob_drop == 0.0
    assert result.accuracy == 1.0


def test_fewer_items_are_the_first_ones() -> None:
    bench = Bench()
    assert asyncio.run(bench.probe.run(1)).tokens == 2


@pytest.mark.parametrize(
    ("first", "items", "asked"),
    [(0, 2, [0, 1]), (3, 2, [3, 4]), (4, 3, [4, 0, 1]), (5, 1, [0]), (14, 5, [4, 0, 1, 2, 3])],
)
def test_a_block_goes_on_at_the_first_item_after_the_last(
    first: int, items: int, asked: list[int]
) -> None:
    bench = Bench()
    answers = tuple(GoldenAnswer((n,), (9,), (HALF,), None, 8) for n in range(5))
    bench.golden.set = GoldenSet("five", answers, problem="a newer one is broken")
    result = asyncio.run(bench.probe.run(items, first))
    assert [ids[0] for ids, _ in bench.model.asked] == asked
    assert (result.items, result.first, result.of) == (items, first % 5, 5)
    assert (result.golden, result.golden_problem) == ("five", "a newer one is broken")


def test_a_block_before_the_first_item_is_refused() -> None:
    error = Bench().refusal(1, first=-1)
    assert (error.status, error.param) == (400, "first")


@pytest.mark.parametrize("items", [0, 3])
def test_items_that_there_are_not_are_refused(items: int) -> None:
    error = Bench().refusal(items)
    assert (error.status, error.param) == (400, "items")
    assert "give 1 to 2" in error.message


def test_a_second_probe_waits() -> None:
    bench = Bench()

    async def both() -> None:
        await asyncio.gather(bench.probe.run(), bench.probe.run())

    asyncio.run(both())
    assert bench.model.most_under_way == 1
    assert len(bench.model.asked) == 4


def test_settings_that_change_meanwhile_spoil_the_probe() -> None:
    bench = Bench()
    bench.model.on_score = lambda: setattr(bench, "generation", 4)
    error = bench.refusal()
    assert (error.status, error.code) == (409, "settings_changed")
    assert "probe_agreement{" not in bench.metrics()


def test_what_cannot_be_scored_is_told() -> None:
    bench = Bench()
    bench.model.error = "too long"
    error = bench.refusal()
    assert (error.status, error.code) == (503, "not_scored")
    assert "golden item 1: too long" in error.message


def test_a_model_without_probabilities_is_an_error() -> None:
    bench = Bench()
    bench.model.log_prob = math.nan
    assert bench.refusal().code == "not_finite"


def test_a_golden_set_that_cannot_be_made_is_an_error() -> None:
    error = Bench(GoldenError("no float32 model")).refusal()
    assert (error.status, error.message) == (500, "no float32 model")


def test_figures_are_exported_with_their_generation() -> None:
    bench = Bench()
    assert "probe_agreement{" not in bench.metrics()
    asyncio.run(bench.probe.run())
    assert 'worker:probe_agreement{model_name="tiny"} 1.0' in bench.metrics()
    assert 'worker:probe_log_prob_drop{model_name="tiny"} 0.0' in bench.metrics()
    assert 'worker:probe_generation{model_name="tiny"} 3.0' in bench.metrics()


def _rebuilt(bench: Bench, before: WorkerSettings, after: WorkerSettings) -> None:
    async def rebuild() -> None:
        bench.probe.on_rebuilt(before, after)
        assert not bench.model.asked  # a rebuild does not wait for its probe
        for _ in range(50):
            await asyncio.sleep(0)
        await bench.probe.close()

    asyncio.run(rebuild())


def test_other_weights_are_probed_by_themselves() -> None:
    bench, before = Bench(), WorkerSettings(weight_dtype="float32")
    _rebuilt(bench, before, replace(before, weight_dtype="int8"))
    assert "worker:probe_generation" in bench.metrics()
    assert len(bench.model.asked) == 2


def test_an_adapter_is_probed_by_itself_on_a_few_items() -> None:
    bench, before = Bench(), WorkerSettings()
    bench.golden.set = GoldenSet("many", GOLDEN * 20)
    _rebuilt(bench, before, replace(before, weights="v1"))
    assert len(bench.model.asked) == 16


def test_a_rebuild_with_the_same_weights_is_not_probed() -> None:
    bench, before = Bench(), WorkerSettings()
    _rebuilt(bench, before, replace(before, data_parallel_size=2))
    assert not bench.model.asked


def test_a_failed_probe_after_a_rebuild_disturbs_nobody() -> None:
    bench, before = Bench(), WorkerSettings(weight_dtype="float32")
    bench.model.error = "gone"
    _rebuilt(bench, before, replace(before, weight_dtype="int8"))
    assert "probe_agreement{" not in bench.metrics()
