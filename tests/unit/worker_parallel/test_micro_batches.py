from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autotuner.worker.decoder import Batch
from autotuner.worker.parallel.micro_batches import micro_batches, split_batch
from tests.unit.worker_parallel.batches import make, seen, seen_by_span

SINGLES = st.lists(st.integers(1, 70).map(lambda length: (1, length)), max_size=20)
CHUNKS = st.lists(
    st.tuples(st.integers(2, 40), st.integers(0, 50)).map(lambda c: (c[0], sum(c))), max_size=5
)


@settings(max_examples=150, deadline=None)
@given(SINGLES, CHUNKS, st.integers(1, 4), st.data())
def test_parts_say_of_every_row_what_the_whole_says(
    singles: list[tuple[int, int]],
    chunks: list[tuple[int, int]],
    parts: int,
    data: st.DataObject,
) -> None:
    rows = singles + chunks or [(1, 1)]
    tokens = sum(count for count, _ in rows)
    wanted = sorted(data.draw(st.sets(st.integers(0, tokens - 1))))
    batch = make(rows, wanted=wanted)
    split = split_batch(batch, parts)
    assert 1 <= len(split) <= parts
    assert [row for part in split for row in seen(part)] == seen(batch)
    assert [row for part in split for row in seen_by_span(part)] == seen_by_span(batch)
    assert [token for part in split for token in answered(part)] == answered(batch)
    for part in split:
        assert_consistent(part)


def answered(batch: Batch) -> list[int]:
    return batch.token_ids[batch.logits_rows].tolist()


def assert_consistent(batch: Batch) -> None:
    """What attention_inputs.py promises to whoever reads it."""
    inputs = batch.attention
    counts = inputs.query_starts.diff().tolist()
    assert len(batch.token_ids) == sum(counts) > 0
    assert counts[: inputs.singles] == [1] * inputs.singles
    assert [span.last - span.first for span in inputs.chunks] == counts[inputs.singles :]
    assert all(count > 1 for count in counts[inputs.singles :])
    assert [span.length for span in inputs.chunks] == inputs.lengths[inputs.singles :].tolist()
    assert [s.sequence for s in inputs.chunks] == list(range(inputs.singles, len(counts)))
    assert inputs.max_length == int(inputs.lengths.max())
    assert inputs.max_rows == max(counts)
    assert inputs.block_table.shape[0] == len(counts)


def test_parts_are_of_one_size() -> None:
    split = split_batch(make([(1, 9)] * 32 + [(480, 500)]), 4)
    assert [len(part.token_ids) for part in split] == [128] * 4


@pytest.mark.parametrize(
    ("tokens", "stages", "device", "parts"),
    [
        (32, 4, "cpu", 1),
        (128, 4, "cpu", 2),
        (512, 4, "cpu", 4),
        (512, 1, "cpu", 1),
        (512, 2, "cuda", 1),
        (2048, 4, "cuda", 4),
        (1, 2, "cpu", 1),
    ],
)
def test_only_what_is_worth_it_is_cut(tokens: int, stages: int, device: str, parts: int) -> None:
    assert micro_batches(tokens, stages, device) == parts
