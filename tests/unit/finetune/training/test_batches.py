from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotuner.finetune.training.batches import Batch, batches, steps_in_all
from autotuner.finetune.training.loop import learning_rate_factor
from autotuner.finetune.training.plan import TrainingPlan
from autotuner.finetune.training.tokens import TokenExample


def some(count: int) -> list[TokenExample]:
    """Each with its number as first token, so that it can be told."""
    return [TokenExample((i, *range(2 + i % 7)), answer_from=1 + i % 2) for i in range(count)]


def numbers(taken: Iterable[Batch]) -> list[int]:
    return [example.ids[0] for batch in taken for part in batch.mine for example in part]


@given(
    count=st.integers(1, 40),
    processes=st.integers(1, 4),
    more=st.integers(0, 6),
    micro_batch=st.integers(1, 5),
    epochs=st.integers(1, 3),
)
def test_all_processes_together_take_every_example_once_an_epoch(
    count: int, processes: int, more: int, micro_batch: int, epochs: int
) -> None:
    plan = TrainingPlan(
        processes=processes, batch_size=processes + more, micro_batch=micro_batch, epochs=epochs
    )
    examples = some(count)
    each = [list(batches(examples, plan, rank)) for rank in range(processes)]

    assert sorted(n for taken in each for n in numbers(taken)) == sorted([*range(count)] * epochs)
    for together in zip(*each, strict=True):
        # As many backward passes in each process: they wait for each other.
        assert len({len(batch.mine) for batch in together}) == 1
        assert len({(b.step, b.epoch, b.answer_tokens, b.tokens) for b in together}) == 1
        mine = [example for batch in together for part in batch.mine for example in part]
        assert sum(example.answer_tokens for example in mine) == together[0].answer_tokens
        assert all(len(part) <= micro_batch for batch in together for part in batch.mine)
    assert [batch.step for batch in each[0]] == list(range(1, steps_in_all(count, plan) + 1))


@given(count=st.integers(1, 40), after=st.integers(0, 30))
def test_who_goes_on_gets_what_was_left(count: int, after: int) -> None:
    plan = TrainingPlan(batch_size=4, epochs=3)
    whole = list(batches(some(count), plan, 0))

    assert list(batches(some(count), plan, 0, after)) == whole[after:]


def test_order_depends_on_seed_and_epoch() -> None:
    plan = TrainingPlan(batch_size=30, epochs=2)
    first, second = (numbers([batch]) for batch in batches(some(30), plan, 0))
    other = next(batches(some(30), TrainingPlan(batch_size=10, seed=1), 0))

    assert sorted(first) == sorted(second)
    assert numbers([other]) != numbers(batches(some(30), TrainingPlan(batch_size=10), 0))[:10]


def test_the_learning_rate_rises_and_falls_and_ends_above_zero() -> None:
    factors = [learning_rate_factor(step, 100, 0.1) for step in range(1, 101)]

    assert factors[:10] == pytest.approx([0.1 * i for i in range(1, 11)])
    assert factors[10] == 1.0
    assert factors[10:] == sorted(factors[10:], reverse=True)
    assert 0 < factors[-1] < 0.001
    assert learning_rate_factor(1, 1, 0.0) == 1.0
