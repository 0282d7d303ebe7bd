from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from autotuner.fronts.exposures import Exposure
from autotuner.fronts.feedback import FeedbackLog, Taken
from autotuner.worker.metric_maker import MetricMaker


def exposure(request_id: str) -> Exposure | None:
    """Every id but "gone" is of a finished request."""
    if request_id == "gone":
        return None
    return Exposure(
        id=request_id,
        generation_start=3,
        generation_end=4,
        arrival=0.0,
        queue_s=0.0,
        ttft_s=None,
        tpot_s=None,
        gap_max_s=None,
        e2el_s=0.0,
        prompt_tokens=1,
        output_tokens=1,
        cached_tokens=0,
        outcome="stop",
    )


class House:
    def __init__(self, kept: int = 100) -> None:
        self.registry = CollectorRegistry()
        self.log = FeedbackLog(exposure, lambda: 5.0, MetricMaker(self.registry, "m"), kept)

    def value(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(f"worker:{name}", {"model_name": "m", **labels})

    def records(self, after: int = 0) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.log.page(after, 1000)["feedback"]
        return found


def test_a_score_is_attributed_to_its_settings() -> None:
    house = House()
    assert house.log.take("a", 0.75, 12) is Taken.NEW
    assert house.records() == [
        {
            "seq": 1,
            "id": "a",
            "score": 0.75,
            "generation_start": 3,
            "generation_end": 4,
            "at": 5.0,
            "comment_chars": 12,
        }
    ]
    assert house.value("feedback_total") == 1
    assert house.value("feedback_score_sum") == 0.75
    assert house.value("feedback_score_bucket", le="0.7") == 0
    assert house.value("feedback_score_bucket", le="0.8") == 1


def test_an_unknown_request_gets_no_score() -> None:
    house = House()
    assert house.log.take("gone", 1.0, 0) is None
    assert (house.records(), house.value("feedback_total")) == ([], 0)


def test_the_same_score_again_changes_nothing() -> None:
    house = House()
    house.log.take("a", 1.0, 0)
    before = house.records()
    assert house.log.take("a", 1.0, 0) is Taken.SAME
    assert house.records() == before
    assert (house.value("feedback_total"), house.value("feedback_score_count")) == (1, 1)


def test_another_score_takes_the_place_and_is_seen_by_a_reader_who_was_there() -> None:
    house = House()
    house.log.take("a", 1.0, 0)
    house.log.take("b", 0.5, 0)
    assert house.log.take("a", 0.0, 0) is Taken.REPLACED
    assert [(r["seq"], r["id"], r["score"]) for r in house.records()] == [
        (2, "b", 0.5),
        (3, "a", 0.0),
    ]
    assert [r["id"] for r in house.records(after=2)] == ["a"]
    assert house.log.page(0, 10)["overrun"] is False
    assert (house.value("feedback_total"), house.value("feedback_replaced_total")) == (2, 1)
    assert house.value("feedback_score_count") == 2


def test_pages_go_on_where_they_ended() -> None:
    house = House()
    for name in "abcde":
        house.log.take(name, 0.5, 0)
    first = house.log.page(0, 3)
    assert (first["next"], first["oldest"]) == (3, 1)
    assert [r["id"] for r in house.records(first["next"])] == ["d", "e"]
    last = house.log.page(5, 3)
    assert (last["feedback"], last["next"], last["overrun"]) == ([], 5, False)


@given(
    st.integers(1, 4),
    st.lists(st.tuples(st.sampled_from("abcdef"), st.sampled_from([0.0, 0.5, 1.0])), max_size=30),
    st.lists(st.booleans(), min_size=30, max_size=30),
)
def test_a_reader_knows_every_last_score_or_is_told(
    kept: int, scores: list[tuple[str, float]], reads: list[bool]
) -> None:
    house, told, cursor = House(kept), False, 0
    known: dict[str, float] = {}
    expected: dict[str, float] = {}
    for (name, score), read in zip(scores, reads, strict=False):
        house.log.take(name, score, 0)
        expected[name] = score
        if read:
            page = house.log.page(cursor, 1000)
            told, cursor = told or page["overrun"], page["next"]
            known |= {r["id"]: r["score"] for r in page["feedback"]}
    page = house.log.page(cursor, 1000)
    known |= {r["id"]: r["score"] for r in page["feedback"]}
    assert len(house.records()) <= kept
    assert told or page["overrun"] or known == expected


def test_what_was_dropped_for_room_is_told() -> None:
    house = House(kept=2)
    for name in "abc":
        house.log.take(name, 0.5, 0)
    page = house.log.page(0, 10)
    assert (page["overrun"], page["oldest"]) == (True, 2)
    assert house.log.page(1, 10)["overrun"] is False
