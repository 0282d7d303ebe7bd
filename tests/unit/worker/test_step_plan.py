from __future__ import annotations

import pytest

from autotuner.worker.kv_layout import TOP_KEYS, WINDOW_TOKENS
from autotuner.worker.sequence import Chunk, StepPlan
from autotuner.worker.settings import AttentionMode
from tests.unit.worker.scheduling import sequence


@pytest.mark.parametrize(
    ("mode", "decode", "chunk", "pairs"),
    [
        ("full", 3000, 3010, sum(range(2991, 3011))),
        ("sliding_window", WINDOW_TOKENS, WINDOW_TOKENS + 19, 20 * WINDOW_TOKENS),
        ("top_k", TOP_KEYS, 20 * TOP_KEYS, sum(range(2991, 3011))),
    ],
)
def test_what_attention_reads_depends_on_the_mode(
    mode: AttentionMode, decode: int, chunk: int, pairs: int
) -> None:
    some = sequence("a", prompt=4000)
    decodes, prefills = (Chunk(some, 2999, 1),), (Chunk(some, 2990, 20),)
    assert StepPlan(decodes, (), mode).context_tokens == decode
    assert StepPlan((), prefills, mode).context_tokens == chunk
    assert StepPlan(decodes, prefills, mode).prefill_pairs == pairs


def test_the_pairs_of_a_window_are_those_of_its_tokens_one_by_one() -> None:
    some = sequence("a", prompt=4000)
    whole = Chunk(some, WINDOW_TOKENS - 5, 10)
    by_hand = sum(min(p + 1, WINDOW_TOKENS) for p in range(whole.start, whole.end))
    assert StepPlan((), (whole,), "sliding_window").prefill_pairs == by_hand
