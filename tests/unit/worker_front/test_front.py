import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from autotuner.fronts.errors import ApiError
from autotuner.worker.front import Clocks, Front, FrontLimits
from autotuner.worker.live_settings import InForce, LiveSettings
from autotuner.worker.messages import (
    AddRequest,
    ApplySettings,
    SamplingParams,
    ScoreOutput,
    ScoreRequest,
    StepOutput,
    TokenOutput,
)
from autotuner.worker.observability import Buckets, WorkerMetrics
from autotuner.worker.settings import WorkerSettings
from autotuner.worker.ticket import Ask, Ticket
from tests.unit.worker_front.fake_links import on_loop


class Letters:
    def decode(self, ids: Sequence[int]) -> str:
        return "".join(map(chr, ids))


@dataclass
class FakeEngines:
    """What serves the requests: tests set what it tells, and read what it was asked."""

    running: int = 0
    kv_usage: float = 0.0
    sent: list[AddRequest | ScoreRequest] = field(default_factory=list)
    aborted: list[str] = field(default_factory=list)
    forgotten: list[str] = field(default_factory=list)

    def add(self, request: AddRequest) -> None:
        self.sent.append(request)

    def score(self, request: ScoreRequest) -> None:
        self.sent.append(request)

    def abort(self, request_id: str) -> None:
        self.aborted.append(request_id)

    def forget(self, request_id: str) -> None:
        self.forgotten.append(request_id)

    async def apply(self, message: ApplySettings) -> None:
        raise AssertionError(message)

    async def rebuild(self, message: ApplySettings) -> None:
        raise AssertionError(message)


@dataclass
class House:
    """A front with a clock that tests set and engines that they read."""

    limits: FrontLimits = field(default_factory=FrontLimits)
    now: float = 100.0
    engines: FakeEngines = field(default_factory=FakeEngines)

    def __post_init__(self) -> None:
        initial = InForce(WorkerSettings(), 1, 0.0)
        self.settings = LiveSettings("boot", initial, self.engines)
        self.front = Front(
            self.limits,
            Letters(),
            self.settings,
            lambda running, waiting: WorkerMetrics("m", Buckets(), running, waiting),
            self.engines,
            Clocks(lambda: self.now + 1000, lambda: self.now),
        )
        self.front.outage = None

    def submit(self, stops: tuple[str, ...] = ()) -> Ticket:
        arrival = self.front.clocks.arrival()
        return self.front.submit(Ask("cmpl-", [1, 2, 3], SamplingParams(), stops, arrival))

    def step(self, *tokens: TokenOutput, running: int = 1, **more: Any) -> None:
        fields: dict[str, Any] = {"decode_seqs": 1, "prefill_tokens": 0} | more
        self.engines.running = running
        self.front.on_step(
            StepOutput(
                at=self.now,
                step_s=0.1,
                context_tokens=3,
                running=running,
                waiting=0,
                kv_usage=0.5,
                generation=1,
                tokens=list(tokens),
                **fields,
            )
        )

    def apply(self, generation: int) -> None:
        self.settings.on_in_force(InForce(WorkerSettings(), generation, self.now))

    def outcomes(self) -> list[str]:
        return [record.outcome for _, record in self.front.exposures.read(0, 100).records]

    def value(self, name: str, **labels: str) -> float | None:
        registry = self.front.metrics.registry
        return registry.get_sample_value(f"worker:{name}", {"model_name": "m", **labels})


def token(ticket: Ticket, letter: str, **more: Any) -> TokenOutput:
    return TokenOutput(ticket.state.request_id, ord(letter), **more)


@on_loop
async def test_a_request_is_timed_where_its_user_sees_it() -> None:
    house = House()
    ticket = house.submit()
    house.now = 100.5
    house.step(token(ticket, "a", admitted_at=1100.2), decode_seqs=0, prefill_tokens=3)
    house.now = 100.75
    house.step(token(ticket, "b", finish="length"))
    pieces = await ticket.take()
    assert [(piece.text, piece.outcome) for piece in pieces] == [("a", None), ("b", "length")]
    ((_, exposure),) = house.front.exposures.read(0, 10).records
    assert (exposure.ttft_s, exposure.tpot_s, exposure.e2el_s) == (0.5, 0.25, 0.75)
    assert exposure.queue_s == pytest.approx(0.2)
    assert house.value("time_to_first_token_seconds_sum") == 0.5
    assert house.value("inter_token_latency_seconds_sum") == 0.25
    assert house.value("prompt_tokens_total") == 3
    assert house.value("generation_tokens_total") == 2
    assert house.value("step_time_seconds_count", kind="prefill") == 1
    assert house.value("request_success_total", finished_reason="length") == 1


@on_loop
async def test_an_exposure_tells_both_generations() -> None:
    house = House()
    ticket = house.submit()
    assert house.front.in_flight_by_generation() == {"1": 1}
    house.apply(2)
    house.submit()
    assert house.front.in_flight_by_generation() == {"1": 1, "2": 1}
    house.step(token(ticket, "a", finish="stop"))
    ((_, exposure),) = house.front.exposures.read(0, 10).records
    assert (exposure.generation_start, exposure.generation_end) == (1, 2)
    assert house.front.in_flight_by_generation() == {"2": 1}


@on_loop
async def test_a_full_queue_rejects_and_records_it() -> None:
    house = House(FrontLimits(max_queue=2))
    first = house.submit()
    house.submit()
    with pytest.raises(ApiError, match="2 requests are waiting") as caught:
        house.submit()
    assert (caught.value.status, caught.value.headers["Retry-After"]) == (503, "1")
    house.step(token(first, "a"), running=1)
    house.submit()
    assert (house.front.running, house.front.waiting) == (1, 2)
    assert house.outcomes() == ["rejected"]
    assert house.value("requests_total", outcome="rejected") == 1
    assert house.value("num_requests_waiting") == 2


@on_loop
async def test_a_reader_that_leaves_frees_its_place() -> None:
    house = House()
    ticket = house.submit()
    house.step(token(ticket, "a"))
    house.front.release(ticket)
    house.front.release(ticket)
    house.step(token(ticket, "b"))  # already on its way when the abort was sent
    assert house.engines.aborted == [ticket.state.request_id]
    assert house.outcomes() == ["abort"]
    assert house.value("request_success_total", finished_reason="stop") == 0


@on_loop
async def test_a_stop_string_ends_the_request_in_the_engine_too() -> None:
    house = House()
    ticket = house.submit(stops=("bc",))
    for letter in "abcd":
        house.step(token(ticket, letter))
    assert "".join(piece.text for piece in await ticket.take()) == "a"
    assert house.engines.aborted == [ticket.state.request_id]
    assert house.outcomes() == ["stop"]
    assert ticket.state.output_tokens == 3


@on_loop
async def test_a_lost_engine_fails_what_it_had() -> None:
    house = House()
    ticket, other = house.submit(), house.submit()
    house.front.on_requests_lost([ticket.state.request_id, "unknown"], "it died")
    (last,) = await ticket.take()
    assert last.error is not None
    assert (last.outcome, last.error.status, last.error.message) == ("error", 503, "it died")
    assert house.engines.forgotten == [ticket.state.request_id]
    house.step(token(other, "a", finish="length"))
    assert house.outcomes() == ["error", "length"]


@on_loop
async def test_without_an_engine_nothing_is_taken() -> None:
    house = House()
    house.front.outage = "it died"
    with pytest.raises(ApiError, match="it died"):
        house.submit()
    with pytest.raises(ApiError, match="it died"):
        await house.front.score([1, 2], 1)
    house.front.outage = None
    house.submit()
    assert house.outcomes() == ["rejected"]
    assert len(house.engines.sent) == 1


@on_loop
async def test_the_end_fails_all_that_is_in_flight() -> None:
    house = House()
    ticket = house.submit()
    scoring = asyncio.ensure_future(house.front.score([1, 2], 1))
    await asyncio.sleep(0)
    house.front.fail_all("shutting down")
    with pytest.raises(ApiError, match="shutting down"):
        await scoring
    assert (await ticket.take())[-1].outcome == "error"
    assert house.front.outage == "shutting down"


@on_loop
async def test_a_score_comes_back_to_who_asked() -> None:
    house = House()
    first = asyncio.ensure_future(house.front.score([1, 2, 3], 1))
    second = asyncio.ensure_future(house.front.score([4, 5], 1))
    await asyncio.sleep(0)
    asked = [m for m in house.engines.sent if isinstance(m, ScoreRequest)]
    assert [(m.token_ids, m.first) for m in asked] == [([1, 2, 3], 1), ([4, 5], 1)]
    told = [ScoreOutput(m.request_id, [-0.5], [7]) for m in asked]
    house.front.on_score(told[1])
    house.front.on_score(told[0])
    house.front.on_score(told[0])
    house.front.on_score(ScoreOutput("given up"))
    assert [await first, await second] == told
    assert sorted(house.engines.forgotten) == sorted(m.request_id for m in asked)


@on_loop
async def test_a_score_fails_with_its_engine_and_after_its_time() -> None:
    house = House()
    scoring = asyncio.ensure_future(house.front.score([1, 2], 1))
    await asyncio.sleep(0)
    house.front.on_requests_lost([house.engines.sent[0].request_id], "it died")
    with pytest.raises(ApiError, match="it died"):
        await scoring
    hasty = House(FrontLimits(request_timeout_s=0.0))
    with pytest.raises(ApiError, match="not scored within 0 s"):
        await hasty.front.score([1, 2], 1)
    assert len(hasty.engines.forgotten) == 1


@on_loop
async def test_cached_tokens_are_in_the_exposure() -> None:
    house = House()
    ticket = house.submit()
    house.step(token(ticket, "a", admitted_at=1100.2, cached_tokens=2))
    house.step(token(ticket, "b", finish="length"))
    ((_, exposure),) = house.front.exposures.read(0, 10).records
    assert exposure.cached_tokens == 2


@on_loop
async def test_a_request_that_takes_too_long_is_given_up() -> None:
    house = House(FrontLimits(request_timeout_s=0.0))
    ticket = house.submit()
    (last,) = await ticket.take()
    assert last.error is not None
    assert last.error.status == 504
    assert house.engines.aborted == [ticket.state.request_id]
    assert house.outcomes() == ["error"]


@on_loop
async def test_a_step_that_computed_nothing_is_no_step() -> None:
    house = House()
    house.step(decode_seqs=0, running=0, preemptions=2)
    house.engines.kv_usage = 0.25
    house.step(decode_seqs=2, prefill_tokens=5, replica=1)
    ((seq, record),) = house.front.steps.read(0, 10).records
    assert (seq, record.decode_seqs, record.prefill_tokens, record.replica) == (1, 2, 5, 1)
    assert house.value("kv_cache_usage_perc") == 0.25
    assert house.value("num_preemptions_total") == 2
    assert house.value("iteration_tokens_total_sum") == 7
    assert house.value("step_time_seconds_count", kind="mixed") == 1


@on_loop
async def test_the_settings_in_force_are_gauges() -> None:
    house = House()
    house.front.metrics.settings(InForce(WorkerSettings(max_num_seqs=4), 3, 0.0))
    changed = WorkerSettings(max_num_seqs=4, schedule_policy="length-grouped")
    house.front.metrics.settings(InForce(changed, 4, 0.0))
    assert house.value("settings_generation") == 4
    assert house.value("setting", knob="max_num_seqs") == 4
    others = {
        "batch_sizes": "exact",
        "attention": "full",
        "weight_dtype": "float32",
        "weights": "base",
    }
    assert house.value("settings_info", schedule_policy="length-grouped", **others) == 1
    assert house.value("settings_info", schedule_policy="fcfs", **others) is None
    assert house.value("setting", knob="memory_efficient") == 0


def test_an_add_request_carries_the_prompt() -> None:
    async def body() -> None:
        house = House()
        house.submit()
        (message,) = house.engines.sent
        assert isinstance(message, AddRequest)
        assert (message.prompt_token_ids, message.arrival) == ([1, 2, 3], 1100.0)

    asyncio.run(body())


def test_an_slo_becomes_a_bucket_edge() -> None:
    buckets = Buckets().with_slos(1.1, 0.085)
    assert 1.1 in buckets.ttft_s
    assert 0.085 in buckets.gap_s
    assert list(buckets.gap_s) == sorted(set(buckets.gap_s))
    assert Buckets().with_slos(1.0, None) == Buckets()
