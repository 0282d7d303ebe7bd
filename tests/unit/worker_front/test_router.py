import pytest

from autotuner.worker.kv_layout import BLOCK_TOKENS
from autotuner.worker.router import Router

PROMPT = list(range(5 * BLOCK_TOKENS))
OTHER = list(range(1000, 1000 + 5 * BLOCK_TOKENS))


def test_the_least_loaded_replica_is_taken() -> None:
    router = Router()
    assert router.route("a", [1], 100, [0, 1]) == 0
    assert router.route("b", [1], 10, [0, 1]) == 1
    assert router.route("c", [1], 10, [0, 1]) == 1
    assert [router.load_tokens(r) for r in (0, 1)] == [100, 20]


def test_equal_replicas_take_turns() -> None:
    router = Router()
    taken = []
    for number in range(6):
        taken.append(router.route(str(number), [1], 10, [0, 1, 2]))
        router.ended(str(number))
    assert taken == [0, 1, 2, 0, 1, 2]


def test_only_ready_replicas_are_taken() -> None:
    router = Router()
    assert [router.route(str(i), PROMPT, 10, [2]) for i in range(3)] == [2, 2, 2]


def test_a_known_prefix_goes_where_it_was_served() -> None:
    router = Router()
    first = router.route("a", PROMPT, 50, [0, 1])
    assert router.route("b", [*PROMPT, 7], 50, [0, 1]) == first
    assert router.route("c", OTHER, 50, [0, 1]) != first


def test_the_longest_known_prefix_decides() -> None:
    router = Router(slack_tokens=10_000)
    start = PROMPT[: 2 * BLOCK_TOKENS]
    router.route("a", start + OTHER, 10, [0])
    router.route("b", PROMPT, 10, [1])
    assert router.route("c", start + OTHER, 10, [0, 1]) == 0
    assert router.route("d", PROMPT, 10, [0, 1]) == 1


def test_less_than_a_block_is_no_prefix() -> None:
    router = Router()
    short = PROMPT[: BLOCK_TOKENS - 1]
    assert router.route("a", short, 10, [0, 1]) == 0
    assert router.route("b", short, 10, [0, 1]) == 1


@pytest.mark.parametrize(("ahead_tokens", "kept"), [(100, True), (101, False)])
def test_a_known_prefix_yields_to_load(ahead_tokens: int, kept: bool) -> None:
    router = Router(slack_tokens=100)
    router.route("a", PROMPT, ahead_tokens, [0])
    assert (router.route("b", PROMPT, 1, [0, 1]) == 0) is kept


def test_what_has_ended_weighs_nothing() -> None:
    router = Router()
    router.route("a", [1], 100, [0])
    router.ended("a")
    router.ended("a")
    assert (router.load_tokens(0), len(router), router.replica_of("a")) == (0, 0, None)


def test_a_lost_replica_gives_up_its_requests_and_prefixes() -> None:
    router = Router(slack_tokens=10_000)
    router.route("a", PROMPT, 10, [0])
    router.route("b", OTHER, 10, [1])
    assert router.lost(0) == ["a"]
    assert router.lost(0) == []
    assert (len(router), router.load_tokens(0)) == (1, 0)
    router.route("x", [1], 5, [0])
    router.ended("b")
    assert router.route("c", PROMPT, 10, [0, 1]) == 1


def test_prefixes_are_bounded_and_the_oldest_goes_first() -> None:
    router = Router(slack_tokens=10_000, max_prefixes=6)
    router.route("a", PROMPT, 10, [0])
    router.route("b", OTHER, 10, [1])
    router.route("c", [1], 100, [1])
    # Five blocks of b's prompt and the longest of a's are left.
    assert router.route("d", OTHER, 10, [0, 1]) == 1
    assert router.route("e", PROMPT[: 2 * BLOCK_TOKENS], 10, [0, 1]) == 0
