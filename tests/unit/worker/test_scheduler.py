from __future__ import annotations

import pytest

from autotuner.worker.messages import SamplingParams, TokenOutput
from autotuner.worker.queue_order import AGEING_S
from autotuner.worker.sequence import Sequence
from autotuner.worker.settings import WorkerSettings
from tests.unit.worker.scheduling import EOS, MAX_LEN, WORD, finish, names, scheduler, sequence


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
    assert house.kv_usage == 0.0
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
    house = scheduler(max_num_seqs=48, max_num_batched_tokens=480)
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


@pytest.mark.parametrize("memory_efficient", [False, True])
def test_no_more_run_than_max_num_seqs_or_blocks_let(memory_efficient: bool) -> None:
    for max_num_seqs, expected in ((8, 3), (2, 2)):
        house = scheduler(
            blocks=1 + 1 + 3 * 13, max_num_seqs=max_num_seqs, memory_efficient=memory_efficient
        )
        for i in range(5):
            house.add(sequence(f"{i}", prompt=200, max_tokens=8))
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


def test_abort_frees_the_blocks_at_once_wherever_the_request_is() -> None:
    house = scheduler(max_num_seqs=1)
    house.add(sequence("runs"))
    house.add(sequence("waits"))
    house.add(sequence("next"))
    finish(house, house.schedule(0.0))
    house.abort("waits")
    house.abort("runs")
    house.abort("unknown")
    assert house.kv_usage == 0.0
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
    assert house.kv_usage == 0.0


def test_a_cache_too_small_for_one_sequence_is_refused() -> None:
    with pytest.raises(ValueError, match=f"blocks=25: give at least 26.*{MAX_LEN}"):
        scheduler(blocks=25)


def test_what_ended_during_a_step_gets_nothing_from_it() -> None:
    house = scheduler(prefix_caching=True)
    house.add(sequence("a", prompt=40))
    plan = house.schedule(0.0)
    house.abort("a")
    assert finish(house, plan) == [TokenOutput("a", None, "abort")]
    assert house.kv_usage == 0.0
