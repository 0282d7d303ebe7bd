from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from autotuner.worker.kv_slots import CALL_COST_TOKENS, LONG_TOKENS, SlotPool, plan_runs

rows_strategy = st.dictionaries(st.integers(0, 60), st.integers(1, 2000), max_size=40).map(
    lambda rows: sorted(rows.items())
)


def test_short_sequences_take_the_bottom_and_long_ones_the_top() -> None:
    pool = SlotPool(4)
    assert [pool.take(n) for n in (10, LONG_TOKENS, 20)] == [0, 3, 1]
    pool.give_back(0)
    assert [pool.take(30), pool.take(30), len(pool)] == [0, 2, 0]


def test_equal_neighbours_are_one_run() -> None:
    (run,) = plan_runs([(s, 140) for s in range(3, 20)])
    assert (run.lo, run.hi, run.max_len) == (3, 20, 140)


def test_a_long_row_stays_apart() -> None:
    runs = plan_runs([(0, 100), (1, 110), (2, 2000)])
    assert [(r.lo, r.hi, r.max_len) for r in runs] == [(0, 2, 110), (2, 3, 2000)]


def test_a_hole_is_bridged_when_it_is_cheaper_than_a_call() -> None:
    short, long = CALL_COST_TOKENS - 50, CALL_COST_TOKENS + 50
    assert len(plan_runs([(0, short), (2, short)])) == 1
    assert len(plan_runs([(0, long), (2, long)])) == 2


@given(rows_strategy)
def test_each_row_is_in_one_run_that_is_long_enough(rows: list[tuple[int, int]]) -> None:
    runs = plan_runs(rows)
    for slot, length in rows:
        (run,) = [r for r in runs if r.lo <= slot < r.hi]
        assert run.max_len >= length
    assert all(left.hi <= right.lo for left, right in pairwise(runs))
    starts = {slot for slot, _ in rows}
    assert all(r.lo in starts and r.hi - 1 in starts for r in runs)


@given(rows_strategy)
def test_runs_never_cost_more_than_a_call_for_each_row(rows: list[tuple[int, int]]) -> None:
    alone = sum(length + CALL_COST_TOKENS for _, length in rows)
    assert sum(run.cost_tokens for run in plan_runs(rows)) <= alone
