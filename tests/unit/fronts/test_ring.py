import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotuner.fronts.ring import Ring


def filled(capacity: int, records: int) -> Ring[str]:
    ring: Ring[str] = Ring(capacity)
    for number in range(1, records + 1):
        ring.append(f"r{number}")
    return ring


def test_sequence_numbers_start_at_one() -> None:
    ring: Ring[str] = Ring(4)
    assert [ring.append("a"), ring.append("b")] == [1, 2]


def test_an_empty_ring_leaves_the_cursor_where_it_is() -> None:
    page = Ring[str](4).read(after=0, limit=10)
    assert (page.records, page.next, page.oldest, page.overrun) == ([], 0, 1, False)


def test_reading_goes_on_where_it_ended() -> None:
    ring = filled(8, 5)
    first = ring.read(after=0, limit=2)
    assert first.records == [(1, "r1"), (2, "r2")]
    assert ring.read(first.next, 10).records == [(3, "r3"), (4, "r4"), (5, "r5")]


def test_a_reader_that_has_seen_everything_gets_nothing_and_no_overrun() -> None:
    page = filled(2, 5).read(after=5, limit=10)
    assert (page.records, page.next, page.overrun) == ([], 5, False)


def test_an_overrun_is_told_when_an_unseen_record_is_gone() -> None:
    ring = filled(3, 10)
    assert ring.read(after=7, limit=10).overrun is False
    late = ring.read(after=6, limit=10)
    assert (late.overrun, late.oldest) == (True, 8)
    assert late.records == [(8, "r8"), (9, "r9"), (10, "r10")]


def test_a_cursor_of_the_future_is_kept() -> None:
    page = filled(3, 4).read(after=99, limit=10)
    assert (page.records, page.next, page.overrun) == ([], 99, False)


def test_a_ring_without_room_is_refused() -> None:
    with pytest.raises(ValueError, match="capacity=0"):
        Ring[str](0)


@given(st.integers(1, 8), st.lists(st.integers(0, 6), max_size=20), st.integers(1, 5))
def test_a_reader_either_sees_every_record_once_or_is_told(
    capacity: int, bursts: list[int], limit: int
) -> None:
    ring: Ring[int] = Ring(capacity)
    seen: list[int] = []
    cursor, written, told = 0, 0, False
    for burst in bursts:
        for _ in range(burst):
            written += 1
            ring.append(written)
        page = ring.read(cursor, limit)
        told, cursor = told or page.overrun, page.next
        seen += [record for _, record in page.records]
    while records := ring.read(cursor, limit).records:
        told, cursor = told or ring.read(cursor, limit).overrun, records[-1][0]
        seen += [record for _, record in records]
    assert seen == sorted(set(seen))
    assert told == (seen != list(range(1, written + 1)))
