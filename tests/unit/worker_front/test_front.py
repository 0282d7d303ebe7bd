import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from autotuner.worker.errors import ApiError
from autotuner.worker.front import Clocks, Front, FrontLimits
from autotuner.worker.live_settings import (
    InForce,
    LiveSettings,
    NotAppliedError,
    StaleGenerationError,
)
from autotuner.worker.messages import (
    AbortRequest,
    AddRequest,
    ApplySettings,
    SamplingParams,
    SettingsApplied,
    StepOutput,
    TokenOutput,
)
from autotuner.worker.observability import Buckets, WorkerMetrics
from autotuner.worker.settings import InvalidSettingError, Limits, WorkerSettings
from autotuner.worker.ticket import Ask, Ticket

LIMITS = Limits(kv_slots=64, max_model_len=1000)


class Letters:
    def decode(self, ids: Sequence[int]) -> str:
        return "".join(map(chr, ids))


@dataclass
class House:
    """A front with a clock that tests set and an outbox that they read."""

    limits: FrontLimits = field(default_factory=FrontLimits)
    now: float = 100.0
    sent: list[Any] = field(default_factory=list)

    def __post_init__(self) -> None:
        initial = InForce(WorkerSettings(), 1, 0.0)
        self.settings = LiveSettings("boot", initial, self.sent.append)
        self.front = Front(
            self.limits,
            Letters(),
            self.settings,
            lambda running, waiting: WorkerMetrics("m", Buckets(), running, waiting),
            self.sent.append,
            Clocks(lambda: self.now + 1000, lambda: self.now),
        )
        self.front.on_engine_ready()

    def submit(self, stops: tuple[str, ...] = ()) -> Ticket:
        arrival = self.front.clocks.arrival()
        return self.front.submit(Ask("cmpl-", [1, 2, 3], SamplingParams(), stops, arrival))

    def step(self, *tokens: TokenOutput, running: int = 1, **more: Any) -> None:
        fields: dict[str, Any] = {"decode_seqs": 1, "prefill_tokens": 0} | more
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
        self.settings.on_applied(SettingsApplied(WorkerSettings(), generation, self.now))

    def outcomes(self) -> list[str]:
        return [record.outcome for _, record in self.front.exposures.read(0, 100).records]

    def value(self, name: str, **labels: str) -> float | None:
        registry = self.front.metrics.registry
        return registry.get_sample_value(f"worker:{name}", {"model_name": "m", **labels})


def on_loop(test: Callable[[], Awaitable[None]]) -> Callable[[], None]:
    async def body() -> None:
        await test()

    def run() -> None:
        asyncio.run(body())

    run.__name__ = test.__name__
    return run


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
    assert house.sent[1:] == [AbortRequest(ticket.state.request_id)]
    assert house.outcomes() == ["abort"]
    assert house.value("request_success_total", finished_reason="stop") == 0


@on_loop
async def test_a_stop_string_ends_the_request_in_the_engine_too() -> None:
    house = House()
    ticket = house.submit(stops=("bc",))
    for letter in "abcd":
        house.step(token(ticket, letter))
    assert "".join(piece.text for piece in await ticket.take()) == "a"
    assert house.sent[1:] == [AbortRequest(ticket.state.request_id)]
    assert house.outcomes() == ["stop"]
    assert ticket.state.output_tokens == 3


@on_loop
async def test_a_lost_engine_fails_what_is_in_flight_and_what_comes() -> None:
    house = House()
    ticket = house.submit()
    house.front.on_engine_lost("it died")
    (last,) = await ticket.take()
    assert last.error is not None
    assert (last.outcome, last.error.status) == ("error", 503)
    with pytest.raises(ApiError, match="it died"):
        house.submit()
    house.front.on_engine_ready()
    house.submit()
    assert house.outcomes() == ["error", "rejected"]
    assert house.front.running == 0


@on_loop
async def test_a_request_that_takes_too_long_is_given_up() -> None:
    house = House(FrontLimits(request_timeout_s=0.0))
    ticket = house.submit()
    (last,) = await ticket.take()
    assert last.error is not None
    assert last.error.status == 504
    assert house.sent[1:] == [AbortRequest(ticket.state.request_id)]
    assert house.outcomes() == ["error"]


@on_loop
async def test_a_step_that_computed_nothing_is_no_step() -> None:
    house = House()
    house.step(decode_seqs=0, running=0, preemptions=2)
    house.step(decode_seqs=2, prefill_tokens=5)
    ((seq, record),) = house.front.steps.read(0, 10).records
    assert (seq, record.decode_seqs, record.prefill_tokens) == (1, 2, 5)
    assert house.value("num_preemptions_total") == 2
    assert house.value("iteration_tokens_total_sum") == 7
    assert house.value("step_time_seconds_count", kind="mixed") == 1


async def change(settings: LiveSettings, generation: int = 1, **more: Any) -> InForce:
    fields: dict[str, Any] = {"boot_id": None, "timeout_s": 5.0} | more
    changes = fields.pop("changes", {"max_num_seqs": 8})
    return await settings.change(changes, LIMITS, generation=generation, **fields)


@on_loop
async def test_a_change_counts_once_the_engine_confirms_it() -> None:
    house = House()
    changing = asyncio.ensure_future(change(house.settings))
    await asyncio.sleep(0)
    (message,) = house.sent
    assert message == ApplySettings(WorkerSettings(max_num_seqs=8), 2)
    assert house.settings.in_force.generation == 1
    house.settings.on_applied(SettingsApplied(message.settings, 2, 7.0))
    assert await changing == InForce(WorkerSettings(max_num_seqs=8), 2, 7.0)


@on_loop
async def test_of_two_changes_at_once_the_second_is_stale() -> None:
    house = House()
    both = asyncio.gather(change(house.settings), change(house.settings), return_exceptions=True)
    await asyncio.sleep(0)
    house.apply(2)
    first, second = await both
    assert isinstance(first, InForce)
    assert isinstance(second, StaleGenerationError)
    assert len(house.sent) == 1


@on_loop
async def test_stale_and_invalid_changes_send_nothing() -> None:
    house = House()
    with pytest.raises(StaleGenerationError):
        await change(house.settings, generation=2)
    with pytest.raises(StaleGenerationError):
        await change(house.settings, boot_id="another")
    with pytest.raises(InvalidSettingError, match="max_num_seqs=65"):
        await change(house.settings, changes={"max_num_seqs": 65})
    assert house.sent == []


@on_loop
async def test_an_unconfirmed_change_leaves_its_number_unused() -> None:
    house = House()
    with pytest.raises(NotAppliedError, match="generation 2"):
        await change(house.settings, timeout_s=0.0)
    later = asyncio.ensure_future(change(house.settings))
    await asyncio.sleep(0)
    assert [message.generation for message in house.sent] == [2, 3]
    house.apply(2)  # the late confirmation is not the one that is waited for
    await asyncio.sleep(0)
    assert not later.done()
    house.apply(3)
    assert (await later).generation == 3


@on_loop
async def test_a_lost_engine_fails_the_change_under_way() -> None:
    house = House()
    changing = asyncio.ensure_future(change(house.settings))
    await asyncio.sleep(0)
    house.settings.on_engine_lost("it died")
    with pytest.raises(NotAppliedError, match="it died"):
        await changing
    assert house.settings.in_force.generation == 1


@on_loop
async def test_the_settings_in_force_are_gauges() -> None:
    house = House()
    house.front.metrics.settings(InForce(WorkerSettings(max_num_seqs=4), 3, 0.0))
    changed = WorkerSettings(max_num_seqs=4, schedule_policy="length-grouped")
    house.front.metrics.settings(InForce(changed, 4, 0.0))
    assert house.value("settings_generation") == 4
    assert house.value("setting", knob="max_num_seqs") == 4
    assert house.value("settings_info", schedule_policy="length-grouped") == 1
    assert house.value("settings_info", schedule_policy="fcfs") is None


def test_an_add_request_carries_the_prompt() -> None:
    async def body() -> None:
        house = House()
        house.submit()
        (message,) = house.sent
        assert isinstance(message, AddRequest)
        assert (message.prompt_token_ids, message.arrival) == ([1, 2, 3], 1100.0)

    asyncio.run(body())


def test_an_slo_becomes_a_bucket_edge() -> None:
    buckets = Buckets().with_slos(1.1, 0.085)
    assert 1.1 in buckets.ttft_s
    assert 0.085 in buckets.gap_s
    assert list(buckets.gap_s) == sorted(set(buckets.gap_s))
    assert Buckets().with_slos(1.0, None) == Buckets()
