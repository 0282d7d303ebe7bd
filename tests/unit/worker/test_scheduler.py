from __future__ import annotations

import pytest

from autotuner.worker.kv_layout import BLOCK_TOKENS, TOP_KEYS, WINDOW_TOKENS, block_count
from autotuner.worker.messages import SamplingParams, TokenOutput
from autotuner.worker.scheduler import AGEING_S, Scheduler
from autotuner.worker.sequence import Chunk, Sequence, StepPlan
from autotuner.worker.settings import AttentionMode, WorkerSettings

EOS = 2
WORD = 7
MAX_LEN = 400


def sequence(name: str, prompt: int = 10, max_tokens: int = 4, at: float = 0.0) -> Sequence:
    sampling = SamplingParams(max_tokens=max_tokens, temperature=0.0)
    return Sequence(name, [WORD] * prompt, prompt, sampling, seed=0, enqueued_s=at)


def scheduler(blocks: int = 1000, prefix_caching: bool = False, **settings: object) -> Scheduler:
    knobs = WorkerSettings(**settings)  # type: ignore[arg-type]
    return Scheduler(knobs, blocks, MAX_LEN, [EOS], prefix_caching)


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


# ---- blocks
def blocks_used(house: Scheduler, blocks: int) -> int:
    return round(house.kv_usage * (blocks - 1))


def test_a_sequence_grows_by_a_block_as_it_crosses_an_edge() -> None:
    house = scheduler(blocks=101)
    house.add(sequence("a", prompt=BLOCK_TOKENS - 1, max_tokens=40))
    used = []
    for _ in range(BLOCK_TOKENS + 3):
        finish(house, house.schedule(0.0))
        used.append(blocks_used(house, 101))
    # The prompt and the first token drawn fill the first block.
    assert used == [1, 1] + [2] * BLOCK_TOKENS + [3]


def test_the_last_token_needs_no_room() -> None:
    house = scheduler(blocks=1 + block_count(MAX_LEN))
    house.add(sequence("a", prompt=MAX_LEN - 1, max_tokens=1))
    finish(house, house.schedule(0.0))
    assert house.take_counts().preemptions == 0
    assert house.wait_s(0.0) is None


def crowd(memory_efficient: bool) -> Scheduler:
    """Three sequences that each come to need 10 of 26 blocks."""
    house = scheduler(
        blocks=27,
        memory_efficient=memory_efficient,
        max_num_seqs=8,
        max_num_batched_tokens=512,
    )
    for name in "abc":
        house.add(sequence(name, prompt=100, max_tokens=60))
    return house


def test_careful_admission_keeps_the_whole_length_free() -> None:
    house = crowd(memory_efficient=False)
    for _ in range(60):
        assert list(house.running) in ([], ["a", "b"])
        finish(house, house.schedule(0.0))
    assert house.take_counts().preemptions == 0
    house.schedule(0.0)
    assert list(house.running) == ["c"]


def test_optimistic_admission_preempts_the_newest_and_computes_it_again() -> None:
    house = crowd(memory_efficient=True)
    tokens: dict[str, int] = {}
    admissions: list[TokenOutput] = []
    preempted: list[str] = []
    for step in range(200):
        plan = house.schedule(float(step))
        preempted += list(house.waiting) * house.take_counts().preemptions
        for output in finish(house, plan):
            tokens[output.request_id] = tokens.get(output.request_id, 0) + 1
            admissions += [output] * (output.admitted_at is not None)
    assert preempted == ["c"]
    assert tokens == {"a": 60, "b": 60, "c": 60}
    assert [(o.request_id, o.admitted_at) for o in admissions] == [(n, 0.0) for n in "abc"]
    assert house.kv_usage == 0.0


def test_a_preempted_sequence_is_read_again_with_what_it_had_drawn() -> None:
    house = crowd(memory_efficient=True)
    while not house.take_counts().preemptions:
        finish(house, house.schedule(0.0))
    (last,) = house.waiting.values()
    length = len(last.tokens)
    assert (last.blocks, last.computed, last.output_tokens > 1) == ([], 0, True)
    house.abort("a")
    plan = house.schedule(0.0)
    assert [(c.sequence, c.start, c.count) for c in plan.prefills] == [(last, 0, length)]
    (mine,) = [o for o in finish(house, plan) if o.request_id == "c" and o.token_id is not None]
    assert (mine.admitted_at, len(last.tokens)) == (None, length + 1)


def test_preempted_sequences_come_back_before_those_that_wait_and_without_delay() -> None:
    house = crowd(memory_efficient=True)
    while not house.take_counts().preemptions:
        finish(house, house.schedule(0.0))
    house.settings = WorkerSettings(
        memory_efficient=True, schedule_policy="length-grouped", batch_timeout_ms=100
    )
    house.add(sequence("short", prompt=2, at=-10.0))
    house.abort("a")
    house.abort("b")
    house.finish_step(StepPlan(), [])
    assert house.wait_s(0.0) == 0.0
    finish(house, house.schedule(0.0))
    assert list(house.running) == ["c", "short"]


def test_careful_again_while_too_many_run_harms_nobody() -> None:
    house = crowd(memory_efficient=True)
    finish(house, house.schedule(0.0))
    house.settings = WorkerSettings()
    house.add(sequence("d", prompt=100, max_tokens=60))
    ended: list[str] = []
    for _ in range(300):
        ended += [o.request_id for o in finish(house, house.schedule(0.0)) if o.finish]
    assert ended == ["a", "b", "c", "d"]


def test_the_watermark_does_not_lock_out_a_lone_sequence() -> None:
    house = scheduler(blocks=1 + block_count(MAX_LEN), memory_efficient=True)
    house.add(sequence("a", prompt=MAX_LEN - 1, max_tokens=1))
    assert names(house.schedule(0.0)) == ["a"]


# ---- the prefix cache
def cached(house: Scheduler, name: str, prompt: int, **fields: int) -> int:
    """Runs one prompt through; returns its cached tokens as told."""
    new = sequence(name, prompt=prompt, max_tokens=1)
    new.score_from = fields.get("score_from")
    house.add(new)
    while True:
        outputs = finish(house, house.schedule(0.0))
        if outputs:
            return outputs[0].cached_tokens


def test_a_prompt_seen_before_is_not_computed_again_except_its_last_token() -> None:
    house = scheduler(prefix_caching=True)
    assert [cached(house, f"{n}", n) for n in (64, 64, 65, 200, 30)] == [0, 48, 64, 64, 16]
    counts = house.take_counts()
    assert (counts.prefix_queries, counts.prefix_hits) == (64 + 64 + 65 + 200 + 30, 192)
    assert house.kv_usage == 0.0


def test_running_sequences_share_the_blocks_of_one_prefix() -> None:
    house = scheduler(blocks=101, prefix_caching=True)
    house.add(sequence("a", prompt=40, max_tokens=20))
    finish(house, house.schedule(0.0))
    house.add(sequence("b", prompt=40, max_tokens=20))
    finish(house, house.schedule(0.0))
    first, second = (s.blocks for s in house.running.values())
    assert first[:2] == second[:2]
    assert not set(first[2:]) & set(second[2:])
    assert blocks_used(house, 101) == 4
    house.abort("a")
    assert blocks_used(house, 101) == 3


def test_drawn_tokens_are_found_by_the_next_turn() -> None:
    house = scheduler(prefix_caching=True)
    house.add(sequence("a", prompt=10, max_tokens=30))
    while house.wait_s(0.0) is not None:
        finish(house, house.schedule(0.0))
    assert cached(house, "b", 60) == 32


def test_what_another_attention_mode_computed_is_not_found() -> None:
    house = scheduler(prefix_caching=True)
    assert cached(house, "a", 64) == 0
    house.settings = WorkerSettings(attention="top_k")
    assert [cached(house, "b", 64), cached(house, "c", 64)] == [0, 48]
    house.settings = WorkerSettings()
    assert cached(house, "d", 64) == 48


def test_a_sequence_that_saw_two_modes_publishes_no_more() -> None:
    house = scheduler(prefix_caching=True, max_num_batched_tokens=32)
    house.add(sequence("a", prompt=100, max_tokens=1))
    finish(house, house.schedule(0.0))
    house.settings = WorkerSettings(attention="sliding_window", max_num_batched_tokens=32)
    finish(house, house.schedule(0.0))
    house.settings = WorkerSettings(max_num_batched_tokens=32)
    while house.wait_s(0.0) is not None:
        finish(house, house.schedule(0.0))
    assert cached(house, "b", 100) == 32


def test_a_scored_text_is_computed_from_where_it_is_scored() -> None:
    house = scheduler(prefix_caching=True)
    cached(house, "a", 100)
    assert [cached(house, f"{n}", 100, score_from=n) for n in (1, 17, 33, 40)] == [0, 16, 32, 32]


def test_spoilt_blocks_are_found_by_nobody() -> None:
    house = scheduler(prefix_caching=True)
    house.add(sequence("a", prompt=64))
    finish(house, house.schedule(0.0), None)
    assert cached(house, "b", 64) == 0


def test_of_spoilt_blocks_only_those_that_nobody_else_holds_are_to_be_zeroed() -> None:
    house = scheduler(prefix_caching=True)
    for name in "ab":
        house.add(sequence(name, prompt=40))
        plan = house.schedule(0.0)
        if name == "a":
            finish(house, plan)
    a, b = house.running.values()
    shared, own = set(a.blocks[:2]), set(b.blocks[2:])
    assert set(house.forget(b)) == own
    drawn = [(c.sequence, None if c.sequence is b else WORD) for c in plan.chunks]
    assert {o.request_id: o.finish for o in house.finish_step(plan, drawn)}["b"] == "error"
    assert set(house.forget(a)) >= shared
    assert house.kv_usage == 0.0


@pytest.mark.parametrize(
    ("mode", "decode", "chunk", "pairs"),
    [
        ("full", 3000, 3010, sum(range(2991, 3011))),
        ("sliding_window", WINDOW_TOKENS, WINDOW_TOKENS + 19, 20 * WINDOW_TOKENS),
        ("top_k", TOP_KEYS, 20 * TOP_KEYS, sum(range(2991, 3011))),
    ],
)
def test_what_attention_reads_depends_on_the_mode(
    mode: AttentionMode, decode: int, chunk: int, pairs: int
) -> None:
    some = sequence("a", prompt=4000)
    decodes, prefills = (Chunk(some, 2999, 1),), (Chunk(some, 2990, 20),)
    assert StepPlan(decodes, (), mode).context_tokens == decode
    assert StepPlan((), prefills, mode).context_tokens == chunk
    assert StepPlan(decodes, prefills, mode).prefill_pairs == pairs


def test_the_pairs_of_a_window_are_those_of_its_tokens_one_by_one() -> None:
    some = sequence("a", prompt=4000)
    whole = Chunk(some, WINDOW_TOKENS - 5, 10)
    by_hand = sum(min(p + 1, WINDOW_TOKENS) for p in range(whole.start, whole.end))
    assert StepPlan((), (whole,), "sliding_window").prefill_pairs == by_hand
