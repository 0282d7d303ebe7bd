"""Near-duplicates point the same way, examples that share a template do not."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotuner.finetune.examples import Example
from autotuner.finetune.intake.embedding import Embedding, text_of
from autotuner.finetune.intake.ngrams import batches, grams_of
from tests.unit.finetune.intake.given import distinct

CAPITALS = ["Paris France", "Lima Peru", "Oslo Norway", "Cairo Egypt", "Hanoi Vietnam"]
TEMPLATE = "What is the capital of {country}? Answer with one word and nothing more.\n{city}"


def _cosine(embedding: Embedding, first: str, second: str) -> float:
    one, two = embedding.embed([first, second])
    return float(one @ two)


def test_vectors_have_length_1_whatever_the_texts_and_their_batch() -> None:
    texts = ["a", "👍", "漢字かな", "a text of some words", "x" * 1000]
    embedding = Embedding.learnt(texts)
    together = embedding.embed(texts)
    assert together.shape == (5, 256)
    assert np.allclose(np.linalg.norm(together, axis=1), 1, atol=1e-6)
    alone = np.concatenate([embedding.embed([text]) for text in texts])
    assert np.array_equal(together, alone)


def test_case_spaces_and_a_typing_error_change_little_a_shared_template_does_not_bind() -> None:
    texts = [
        TEMPLATE.format(city=city, country=country) for city, country in map(str.split, CAPITALS)
    ]
    texts += [f"{prompt}\n{answer}" for prompt, answer in distinct(200)]
    embedding = Embedding.learnt(texts)
    first = texts[5]
    assert _cosine(embedding, first, f" {first.upper()}\n\n".replace(" ", "  ")) > 0.999
    assert _cosine(embedding, first, first.replace("e", "ee", 1)) > 0.85
    assert _cosine(embedding, texts[0], texts[1]) < 0.85


def test_what_few_texts_have_weighs_more_than_what_all_have() -> None:
    texts = [f"the same words stand in all {word}" for word in ("copper", "violin", "meadow")]
    learnt, flat = Embedding.learnt(texts * 9), Embedding(0, np.zeros(2**18, dtype=np.int64))
    assert _cosine(learnt, texts[0], texts[1]) < _cosine(flat, texts[0], texts[1])


def test_the_projection_is_the_same_on_every_machine() -> None:
    vector = Embedding(0, np.zeros(2**18, dtype=np.int64)).embed(["stay as you are"])[0]
    assert np.flatnonzero(vector)[:5].tolist() == [6, 12, 17, 19, 27]


@given(st.lists(st.text(max_size=30), min_size=1, max_size=5))
def test_n_grams_are_counted_text_by_text(texts: list[str]) -> None:
    together, alone = grams_of(texts), [grams_of([text]) for text in texts]
    assert together.rows.tolist() == [row for row, g in enumerate(alone) for _ in g.buckets]
    assert together.buckets.tolist() == [bucket for g in alone for bucket in g.buckets]
    assert together.counts.tolist() == [count for g in alone for count in g.counts]


def test_n_grams_do_not_cross_a_space() -> None:
    # " ab", "ab ", " ab " and " cd", "cd ", " cd ".
    assert len(grams_of(["ab cd"]).buckets) == 6
    assert grams_of(["ab cd"]).counts.sum() == 6


@pytest.mark.parametrize("lengths", [[1] * 1200, [200_000] * 3, [10, 300_000, 10]])
def test_batches_keep_the_order_and_to_their_bounds(lengths: list[int]) -> None:
    texts = ["x" * length for length in lengths]
    found = list(batches(texts, len))
    assert [text for batch in found for text in batch] == texts
    for batch in found:
        assert len(batch) <= 512
        assert sum(map(len, batch)) <= 2**18 or len(batch) == 1


def test_prompt_and_answer_are_compared_and_the_score_is_not() -> None:
    assert text_of(Example("a", "b", 0.3)) == "a\nb"
