from __future__ import annotations

from autotuner.worker.kv_layout import BLOCK_TOKENS, block_count
from autotuner.worker.messages import TokenOutput
from autotuner.worker.scheduler import Scheduler
from autotuner.worker.sequence import StepPlan
from autotuner.worker.settings import WorkerSettings
from tests.unit.worker.scheduling import MAX_LEN, WORD, finish, names, scheduler, sequence


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
    assert sequence("a", prompt=BLOCK_TOKENS, max_tokens=1).most_blocks == 1
    assert sequence("a", prompt=BLOCK_TOKENS, max_tokens=2).most_blocks == 2
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
    house.settings = WorkerSettings(memory_efficient=True, max_num_seqs=3)
    house.add(sequence("short", prompt=2, at=-10.0))
    while not house.take_counts().preemptions:
        finish(house, house.schedule(0.0))
    house.settings = WorkerSettings(
        memory_efficient=True, schedule_policy="length-grouped", batch_timeout_ms=100
    )
    house.abort("a")
    house.abort("b")
    house.finish_step(StepPlan(), [])
    assert house.wait_s(0.0) == 0.0
    finish(house, house.schedule(0.0))
    assert list(house.running) == ["c", "short"]


def test_who_is_preempted_before_its_first_token_was_admitted_once() -> None:
    house = scheduler(
        blocks=27, prefix_caching=True, memory_efficient=True, max_num_batched_tokens=360
    )
    for name, prompt in (("a", 160), ("b", 192), ("c", 40)):
        house.add(sequence(name, prompt=prompt, max_tokens=60))
    finish(house, house.schedule(0.0))
    # a and b need a block each and one is free. c gives its own up and finds two of theirs.
    plan = house.schedule(1.0)
    assert [(c.sequence.request_id, c.start) for c in plan.prefills] == [("c", 32)]
    (output,) = [o for o in finish(house, plan) if o.request_id == "c"]
    assert (output.admitted_at, output.cached_tokens) == (0.0, 0)
    counts = house.take_counts()
    assert (counts.preemptions, counts.prefix_queries, counts.prefix_hits) == (1, 392, 0)


def test_nobody_overtakes_who_waits_for_blocks() -> None:
    house = scheduler(blocks=27, memory_efficient=True)
    for name, prompt in (("a", 300), ("b", 200), ("small", 2)):
        house.add(sequence(name, prompt=prompt, max_tokens=5))
    house.schedule(0.0)
    assert (list(house.running), list(house.waiting)) == (["a"], ["b", "small"])


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


def test_contents_that_are_found_are_not_counted_as_free_blocks() -> None:
    house = scheduler(blocks=27, prefix_caching=True, memory_efficient=True)
    cached(house, "a", 100)
    other = sequence("other", prompt=300, max_tokens=9)
    other.tokens = [WORD + 1] * 300
    house.add(other)
    finish(house, house.schedule(0.0))
    house.add(sequence("b", prompt=100))
    finish(house, house.schedule(0.0))
    # 7 blocks are free and 6 of them are found again, so that b would leave none.
    assert list(house.waiting) == ["b"]


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


def test_what_was_preempted_publishes_its_blocks_again() -> None:
    house = scheduler(blocks=27, prefix_caching=True, memory_efficient=True)
    house.add(sequence("a", prompt=200, max_tokens=200))
    finish(house, house.schedule(0.0))
    house.add(other := sequence("other", prompt=190, max_tokens=30))
    other.tokens = [WORD + 1] * 190
    while house.wait_s(0.0) is not None:
        finish(house, house.schedule(0.0))
    # While it waited, the first one grew into its blocks.
    assert other.preemptions == 1
    house.add(again := sequence("again", prompt=190, max_tokens=1))
    again.tokens = [WORD + 1] * 190
    house.schedule(0.0)
    assert again.cached_tokens == 176


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
