from collections import OrderedDict
from threading import Thread

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotuner.worker.pipeline.lru import Key, TokenLru

ENTRIES, TOKENS = 3, 20


def key(text: str) -> Key:
    return Key(text, add_special_tokens=True)


class Model:
    """The same by the letter of its description, with no thought for speed."""

    def __init__(self) -> None:
        self.kept: OrderedDict[Key, list[int]] = OrderedDict()

    def get(self, wanted: Key) -> list[int] | None:
        if wanted in self.kept:
            self.kept.move_to_end(wanted)
        return self.kept.get(wanted)

    def put(self, new: Key, ids: list[int]) -> None:
        if len(ids) > TOKENS // 4:
            return
        self.kept.pop(new, None)
        self.kept[new] = ids
        while len(self.kept) > ENTRIES or sum(map(len, self.kept.values())) > TOKENS:
            self.kept.popitem(last=False)


TEXTS = st.sampled_from("abcdef")
STEPS = st.tuples(TEXTS, st.one_of(st.none(), st.lists(st.integers(0, 99), max_size=6)))


@given(st.lists(STEPS, max_size=40))
def test_it_does_what_the_model_does(steps: list[tuple[str, list[int] | None]]) -> None:
    cache, model = TokenLru(ENTRIES, TOKENS), Model()
    for text, ids in steps:
        if ids is None:
            assert cache.get(key(text)) == model.get(key(text))
        else:
            cache.put(key(text), ids)
            model.put(key(text), ids)
        assert len(cache) == len(model.kept) <= ENTRIES
        assert cache.tokens == sum(map(len, model.kept.values())) <= TOKENS


def test_special_tokens_are_part_of_the_key() -> None:
    cache = TokenLru(4, 100)
    cache.put(Key("a", add_special_tokens=True), [0, 1])
    assert cache.get(Key("a", add_special_tokens=False)) is None


def test_what_a_caller_does_to_the_ids_is_not_remembered() -> None:
    cache, given_ids = TokenLru(4, 100), [1, 2]
    cache.put(key("a"), given_ids)
    given_ids.append(3)
    got = cache.get(key("a"))
    assert got == [1, 2]
    got.append(4)
    assert cache.get(key("a")) == [1, 2]


def test_one_long_text_does_not_put_out_the_others() -> None:
    cache = TokenLru(4, 100)
    cache.put(key("short"), [1])
    cache.put(key("long"), [1] * 26)
    assert (cache.get(key("long")), cache.get(key("short"))) == (None, [1])


@pytest.mark.parametrize("bounds", [(0, 10), (10, 0)])
def test_a_cache_without_room_is_refused(bounds: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="give 1 or more"):
        TokenLru(*bounds)


def test_threads_leave_its_counts_right() -> None:
    cache = TokenLru(5, 40)

    def work(first: int) -> None:
        for i in range(2000):
            name = str((first + i) % 9)
            if cache.get(key(name)) is None:
                cache.put(key(name), [0] * (i % 10))

    threads = [Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    held = [ids for i in range(9) if (ids := cache.get(key(str(i)))) is not None]
    assert (len(held), sum(map(len, held))) == (len(cache), cache.tokens)
    assert len(cache) <= 5
    assert cache.tokens <= 40
