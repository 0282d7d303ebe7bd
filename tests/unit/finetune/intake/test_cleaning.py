"""What is mended, what is dropped, and that cleaning twice changes nothing more."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotuner.finetune.examples import Example
from autotuner.finetune.intake.cleaning import Dropped, clean


def test_texts_are_mended() -> None:
    raw = Example("\ufeff Cafe\u0301\x07\r\nau\rlait \t", "\x1b[31mred", 0.5)
    assert clean(raw, 0) == Example("Café\nau\nlait", "[31mred", 0.5)


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (Example(" \x00\n", "b"), Dropped.EMPTY_PROMPT),
        (Example("a", "\t\x7f"), Dropped.EMPTY_ANSWER),
        (Example("a\ud83d", "b"), Dropped.NOT_UNICODE),
        (Example("a", "b", 0.19), Dropped.LOW_SCORE),
    ],
)
def test_what_is_of_no_use_is_dropped_with_its_reason(raw: Example, why: Dropped) -> None:
    assert clean(raw, 0.2) is why


def test_no_score_is_no_low_score() -> None:
    assert clean(Example("a", "b"), 1.0) == Example("a", "b")


@given(st.text(), st.text())
def test_what_is_clean_stays_as_it_is(prompt: str, answer: str) -> None:
    once = clean(Example(prompt, answer), 0)
    if isinstance(once, Example):
        assert clean(once, 0) == once
        assert unicodedata.is_normalized("NFC", once.prompt)
        once.prompt.encode("utf-8")
