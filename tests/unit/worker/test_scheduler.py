from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotuner.worker.messages import SamplingParams, TokenOutput
from autotuner.worker.scheduler import AGEING_S, Scheduler
from autotuner.worker.sequence import Sequence, StepPlan
from autotuner.worker.settings import WorkerSettings

EOS = 2
WORD = 7
MAX_LEN = 400


def sequence(name: str, prompt: int = 10, max_tokens: int = 4, at: float = 0.0) -> Sequence:
    sampling = SamplingParams(max_tokens=max_tokens, temperature=0.0)
    return Sequence(name, [WORD] * prompt, prompt, sampling, seed=0, enqueued_s=at)


def scheduler(slots: int = 8, **settings: object) -> Scheduler:
    return Scheduler(WorkerSettings(**settings), slots, MAX_LEN, [EOS])  # type: ignore[arg-type]


def finish(house: Scheduler, plan: StepPlan, token: int | None = WORD) -> list[TokenOutput]:
    drawn = [(chunk.sequence, token) for chunk in plan.chunks if chunk.yields_token]
    return house.finish_step(plan, drawn)


def names(plan: StepPlan) -> list[str]:
    return [chunk.sequence.request_id for chunk in plan.chunks]


def test_a_prompt_is_read_in_chunks_and_then_decoded() -> None:
    house = scheduler(max_num_batched_tokens=16)
    house.add(sequence("a", prompt=20, max_tokens=2))
    first = house.schedule(0.0)
    assert [(c.start, c.count, c.yields_token) for c in first.prefills] == [(0, 16, False)]
    assert finish(house, first) == []
    second = house.schedule(5.0)
    assert [(c.start, c.count, c.yields_token) for c in second.prefills] == [(16, 4, True)]
    assert finish(house, second) == [TokenOutput("a", WORD, None, 0.0)]
    third = house.schedule(6.0)
    assert [(c.start, c.count) for c in third.decodes] == [(20, 1)]
    assert third.context_tokens == 21
    assert finish(house, third) == [TokenOutput("a", WORD, "length")]
    assert house.slots_used_ratio == 0.0
    assert house.wait_s(7.0) is None


def test_decodes_come_before_prefills() -> None:
    house = scheduler(max_num_batched_tokens=16)
    house.add(sequence("old"))
    finish(house, house.schedule(0.0))
    house.add(sequence("new", prompt=30))
    plan = house.schedule(1.0)
    assert names(plan) == ["old", "new"]
    assert (plan.tokens, plan.prefill_tokens) == (16, 15)


def test_decodes_take_turns_when_the_budget_is_too_small() -> None:
    house = scheduler(slots=48, max_num_seqs=48, max_num_batched_tokens=480)
    for i in range(48):
        house.add(sequence(f"{i}", max_tokens=50))
    finish(house, house.schedule(0.0))
    house.settings = WorkerSettings(max_num_seqs=48, max_num_batched_tokens=16)
    served: list[str] = []
    for _ in range(6):
        plan = house.schedule(1.0)
        assert len(plan.decodes) == 16
        served += names(plan)
        finish(house, plan)
    assert {served.count(f"{i}") for i in range(48)} == {2}


def test_no_more_run_than_max_num_seqs_or_slots() -> None:
    for limits, expected in (
        ({"slots": 3, "max_num_seqs": 8}, 3),
        ({"slots": 8, "max_num_seqs": 2}, 2),
    ):
        house = scheduler(**limits)
        for i in range(5):
            house.add(sequence(f"{i}"))
        house.schedule(0.0)
        assert (len(house.running), len(house.waiting)) == (expected, 5 - expected)


def test_a_smaller_max_num_seqs_evicts_nobody() -> None:
    house = scheduler(max_num_seqs=4)
    for i in range(6):
        house.add(sequence(f"{i}", max_tokens=3))
    finish(house, house.schedule(0.0))
    house.settings = WorkerSettings(max_num_seqs=1)
    plan = house.schedule(1.0)
    assert names(plan) == ["0", "1", "2", "3"]
    finish(house, plan)
    finish(house, house.schedule(2.0))
    assert names(house.schedule(3.0)) == ["4"]


def test_batch_timeout_waits_for_company_but_not_for_long() -> None:
    house = scheduler(max_num_seqs=3, batch_timeout_ms=50)
    house.add(sequence("a", at=10.0))
    assert house.schedule(10.02).chunks == ()
    assert house.wait_s(10.02) == pytest.approx(0.03)
    assert names(house.schedule(10.051)) == ["a"]


def test_batch_timeout_ends_when_the_places_are_filled() -> None:
    house = scheduler(max_num_seqs=2, batch_timeout_ms=100)
    house.add(sequence("a"))
    house.add(sequence("b"))
    assert house.wait_s(0.0) == 0.0
    assert names(house.schedule(0.0)) == ["a", "b"]


def test_length_grouped_takes_short_prompts_first_and_arrival_within_a_group() -> None:
    house = scheduler(schedule_policy="length-grouped")
    for name, prompt in (("long", 300), ("b", 40), ("a", 35), ("tiny", 5)):
        house.add(sequence(name, prompt=prompt))
    assert names(house.schedule(0.1)) == ["tiny", "b", "a", "long"]


def test_length_grouped_lets_nobody_starve() -> None:
    house = scheduler(max_num_seqs=1, schedule_policy="length-grouped")
    house.add(sequence("long", prompt=300, at=0.0))
    house.add(sequence("short", prompt=5, at=AGEING_S))
    assert names(house.schedule(AGEING_S + 0.1)) == ["long"]


def test_abort_frees_the_slot_at_once_wherever_the_request_is() -> None:
    house = scheduler(slots=1, max_num_seqs=1)
    house.add(sequence("runs"))
    house.add(sequence("waits"))
    house.add(sequence("next"))
    finish(house, house.schedule(0.0))
    house.abort("waits")
    house.abort("runs")
    house.abort("unknown")
    assert house.slots_used_ratio == 0.0
    plan = house.schedule(1.0)
    assert names(plan) == ["next"]
    ended = {(o.request_id, o.finish) for o in finish(house, plan)}
    assert {("waits", "abort"), ("runs", "abort")} < ended


@pytest.mark.parametrize(
    ("bad", "told"),
    [
        (sequence("x", prompt=0), "prompt: empty"),
        (sequence("x", max_tokens=0), "max_tokens=0"),
        (sequence("x", prompt=MAX_LEN, max_tokens=1), f"max_model_len={MAX_LEN}"),
    ],
)
def test_what_cant_be_served_ends_with_an_error(bad: Sequence, told: str) -> None:
    house = scheduler()
    house.add(bad)
    assert house.wait_s(0.0) == 0.0
    (output,) = finish(house, house.schedule(0.0))
    assert (output.finish, output.token_id) == ("error", None)
    assert told in str(output.error)
    assert house.wait_s(0.0) is None


def test_a_name_in_use_is_refused_and_the_first_goes_on() -> None:
    house = scheduler()
    house.add(sequence("a"))
    house.add(sequence("a"))
    outputs = finish(house, house.schedule(0.0))
    assert [(o.finish, o.token_id) for o in outputs] == [("error", None), (None, WORD)]


def test_eos_and_stop_tokens_end_a_request_unless_ignored() -> None:
    sampling = SamplingParams(max_tokens=9, stop_token_ids=(5,))
    ignoring = SamplingParams(max_tokens=9, stop_token_ids=(5,), ignore_eos=True)
    for params, token, expected in (
        (sampling, EOS, "stop"),
        (sampling, 5, "stop"),
        (sampling, WORD, None),
        (ignoring, EOS, None),
        (ignoring, 5, "stop"),
    ):
        house = scheduler()
        house.add(Sequence("a", [1], 1, params, 0, 0.0))
        (output,) = finish(house, house.schedule(0.0), token)
        assert output.finish == expected


def test_output_that_is_not_finite_is_an_error() -> None:
    house = scheduler()
    house.add(sequence("a"))
    (output,) = finish(house, house.schedule(0.0), None)
    assert (output.finish, output.token_id) == ("error", None)
    assert house.slots_used_ratio == 0.0


@dataclass
class Run:
    """Everything that a random run must not break, checked at each step."""

    house: Scheduler
    added: set[str] = field(default_factory=set)
    refused_or_aborted: set[str] = field(default_factory=set)
    ended: dict[str, str] = field(default_factory=dict)
    produced: dict[str, int] = field(default_factory=dict)
    computed: dict[str, int] = field(default_factory=dict)

    def step(self, now: float, token: int) -> None:
        before = set(self.house.running)
        plan = self.house.schedule(now)
        settings = self.house.settings
        admitted = set(self.house.running) - before
        assert not admitted or len(self.house.running) <= settings.max_num_seqs
        assert plan.tokens <= settings.max_num_batched_tokens
        assert plan.chunks or not self.house.running
        slots = [s.slot for s in self.house.running.values()]
        assert len(set(slots)) == len(slots)
        assert len({id(c.sequence) for c in plan.chunks}) == len(plan.chunks)
        for chunk in plan.chunks:
            assert chunk.start == self.computed.get(chunk.sequence.request_id, 0)
            self.computed[chunk.sequence.request_id] = chunk.end
        for output in finish(self.house, plan, token):
            assert output.request_id not in self.ended
            if output.token_id is not None:
                self.produced[output.request_id] = self.produced.get(output.request_id, 0) + 1
            if output.finish:
                self.ended[output.request_id] = output.finish


settings_strategy = st.builds(
    WorkerSettings,
    max_num_seqs=st.integers(1, 6),
    batch_timeout_ms=st.sampled_from([0, 20, 100]),
    max_num_batched_tokens=st.integers(16, 64),
    schedule_policy=st.sampled_from(["fcfs", "length-grouped"]),
)
action_strategy = st.one_of(
    st.tuples(st.just("add"), st.integers(0, 120), st.integers(0, 6)),
    st.tuples(st.just("abort"), st.integers(0, 30), st.just(0)),
    st.tuples(st.just("wait"), st.integers(1, 3000), st.just(0)),
)


@given(
    st.lists(st.tuples(action_strategy, settings_strategy), max_size=40),
    st.integers(1, 5),
    st.sampled_from([WORD, WORD, EOS]),
)
def test_every_request_ends_whatever_the_settings_do(
    script: list[tuple[tuple[str, int, int], WorkerSettings]], slots: int, token: int
) -> None:
    run = Run(scheduler(slots=slots))
    now = 0.0
    asked: dict[str, int] = {}
    for i, ((what, a, b), settings) in enumerate(script):
        run.house.settings = settings
        if what == "add":
            asked[f"{i}"] = b
            run.house.add(sequence(f"{i}", prompt=a, max_tokens=b, at=now))
        elif what == "abort":
            run.house.abort(f"{a}")
        else:
            now += a / 1000
        run.step(now, token)
        now += 0.01
    for _ in range(20_000):
        wait_s = run.house.wait_s(now)
        if wait_s is None:
            break
        now += wait_s + 1e-6
        run.step(now, token)
    assert set(run.ended) == set(asked)
    assert run.house.slots_used_ratio == 0.0
    assert not run.house.running
    assert not run.house.waiting
    for name, reason in run.ended.items():
        if reason == "length":
            assert run.produced[name] == asked[name]
