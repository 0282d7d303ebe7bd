from __future__ import annotations

from itertools import pairwise

import pytest

from autotuner.worker.batch_sizes import padded_rows
from autotuner.worker.settings import BatchSizes


@pytest.mark.parametrize(
    ("batch_sizes", "expected"),
    [
        ("exact", [0, 1, 3, 8, 9, 17, 40, 50]),
        ("powers-of-two", [0, 1, 4, 8, 16, 32, 40, 50]),
        ("multiples-of-8", [0, 8, 8, 8, 16, 24, 40, 50]),
    ],
)
def test_counts_are_padded_up_to_the_next_size(
    batch_sizes: BatchSizes, expected: list[int]
) -> None:
    assert [padded_rows(n, batch_sizes, 40) for n in (0, 1, 3, 8, 9, 17, 40, 50)] == expected


def test_the_greatest_size_is_max_num_seqs() -> None:
    assert padded_rows(33, "powers-of-two", 40) == 40
    assert padded_rows(3, "multiples-of-8", 5) == 5


@pytest.mark.parametrize("batch_sizes", ["powers-of-two", "multiples-of-8"])
def test_padding_never_lacks_a_row_and_takes_few_sizes(batch_sizes: BatchSizes) -> None:
    padded = [padded_rows(n, batch_sizes, 256) for n in range(257)]
    assert all(rows >= n for n, rows in enumerate(padded))
    assert all(a <= b for a, b in pairwise(padded))
    assert len(set(padded)) <= 33
