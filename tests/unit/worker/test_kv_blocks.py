from __future__ import annotations

import pytest

from autotuner.worker.kv_blocks import BlockPool
from autotuner.worker.kv_layout import BLOCK_TOKENS, SCRATCH_BLOCK, block_count
from autotuner.worker.prefix_keys import PrefixKeys

A, B, C = b"a", b"b", b"c"


def restarted(salt: str = "full") -> PrefixKeys:
    keys = PrefixKeys()
    keys.restart(salt)
    return keys


def test_a_fresh_pool_gives_low_blocks_first_and_never_scratch() -> None:
    pool = BlockPool(5)
    taken = pool.take(4)
    assert taken == [1, 2, 3, 4]
    assert SCRATCH_BLOCK not in taken
    assert (pool.free, pool.used_ratio) == (0, 1.0)


def test_too_many_are_refused_and_none_is_lost() -> None:
    pool = BlockPool(5)
    with pytest.raises(ValueError, match="count=5: only 4 blocks are free"):
        pool.take(5)
    assert pool.free == 4


def test_a_block_without_a_name_is_reused_before_memory_is_touched_anew() -> None:
    pool = BlockPool(9)
    first, _ = pool.take(1), pool.take(2)
    assert pool.release(first) == [1]
    assert pool.take(2) == [1, 4]


def test_a_block_with_a_name_is_found_while_held_and_after() -> None:
    pool = BlockPool(4)
    (block,) = pool.take(1)
    pool.register(block, A)
    assert pool.find(A) == block
    assert pool.release([block]) == [block]
    assert pool.find(A) == block
    assert (pool.free, pool.used_ratio) == (3, 0.0)
    pool.hold([block])
    assert (pool.free, pool.holders(block)) == (2, 1)


def test_a_shared_block_is_free_when_its_last_holder_is_gone() -> None:
    pool = BlockPool(4)
    (block,) = pool.take(1)
    pool.register(block, A)
    pool.hold([block])
    assert pool.release([block]) == []
    assert pool.free == 2
    assert pool.release([block]) == [block]
    assert pool.free == 3


def test_the_block_held_longest_ago_is_evicted_first_and_of_a_text_its_end() -> None:
    pool = BlockPool(4)
    old, new = pool.take(1), pool.take(2)
    for block, key in zip(old + new, (A, B, C), strict=True):
        pool.register(block, key)
    pool.release(old)
    pool.release(new)
    pool.take(1)
    assert [pool.find(key) is None for key in (A, B, C)] == [True, False, False]
    pool.take(1)
    assert [pool.find(key) is None for key in (A, B, C)] == [True, False, True]


def test_a_block_found_again_is_the_last_to_be_evicted() -> None:
    pool = BlockPool(3)
    for key in (A, B):
        pool.register(pool.take(1)[0], key)
    pool.release([1])
    pool.release([2])
    pool.hold([1])
    pool.release([1])
    assert pool.take(1) == [2]


def test_the_first_block_with_a_key_keeps_it() -> None:
    pool = BlockPool(4)
    first, second = pool.take(2)
    pool.register(first, A)
    pool.register(second, A)
    pool.release([second])
    assert pool.find(A) == first
    assert pool.take(1) == [second]


def test_forgotten_contents_are_not_found_and_the_block_is_empty_once_free() -> None:
    pool = BlockPool(3)
    first, second = pool.take(2)
    pool.register(first, A)
    pool.register(second, B)
    pool.forget([first])
    assert (pool.find(A), pool.find(B)) == (None, second)
    pool.release([first, second])
    assert pool.take(1) == [first]


def test_without_prefix_caching_nothing_is_found() -> None:
    pool = BlockPool(3, prefix_caching=False)
    (block,) = pool.take(1)
    pool.register(block, A)
    assert pool.find(A) is None


def test_blocks_are_counted_up() -> None:
    assert [block_count(tokens) for tokens in (0, 1, 16, 17)] == [0, 1, 1, 2]


def test_a_key_stands_for_the_whole_text_up_to_its_block() -> None:
    text = list(range(3 * BLOCK_TOKENS))
    other = [99, *text[1:]]
    keys = [restarted().key(text, i) for i in range(3)]
    assert len(set(keys)) == 3
    assert [restarted().key([*text, 5], i) for i in range(3)] == keys
    assert all(restarted().key(other, i) != keys[i] for i in range(3))


def test_tokens_do_not_run_into_each_other() -> None:
    wide = [1 << 8] + [0] * (BLOCK_TOKENS - 1)
    narrow = [0, 1] + [0] * (BLOCK_TOKENS - 2)
    assert restarted().key(wide, 0) != restarted().key(narrow, 0)


def test_another_salt_gives_other_keys() -> None:
    text = list(range(BLOCK_TOKENS))
    keys = restarted("full")
    first = keys.key(text, 0)
    keys.restart("top_k")
    assert keys.key(text, 0) != first
    keys.restart("full")
    assert keys.key(text, 0) == first


def test_a_spoilt_chain_gives_no_key_until_it_is_restarted() -> None:
    keys = restarted()
    keys.spoil()
    with pytest.raises(ValueError, match="restart"):
        keys.key(list(range(BLOCK_TOKENS)), 0)
