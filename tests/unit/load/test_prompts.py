from __future__ import annotations

import pytest

from autotuner.load.prompts import WORDS, PromptMaker


class ByPieces:
    """Counts a token to begin with, and one for every six letters of a word."""

    def count(self, text: str) -> int:
        return 1 + sum(-(-len(word) // 6) for word in text.split())


class ByLetters:
    """No word is one token here: every character is."""

    def count(self, text: str) -> int:
        return len(text)


def test_without_a_tokenizer_a_word_is_a_token() -> None:
    text = PromptMaker(0).text(3, 120)
    assert len(text.split()) == 120
    assert set(text.split()) <= set(WORDS)


@pytest.mark.parametrize("tokens", [2, 3, 17, 128, 2000])
def test_the_count_is_exact_with_a_tokenizer(tokens: int) -> None:
    encoder = ByPieces()
    assert encoder.count(PromptMaker(0, encoder).text(1, tokens)) == tokens


def test_a_tokenizer_without_our_words_comes_as_near_as_words_can() -> None:
    encoder = ByLetters()
    found = encoder.count(PromptMaker(0, encoder).text(1, 300))
    assert abs(found - 300) <= max(map(len, WORDS)) + 1


def test_texts_are_made_anew_from_the_seed_and_the_index() -> None:
    maker = PromptMaker(4)
    assert maker.text(9, 50) == PromptMaker(4).text(9, 50)
    assert maker.text(9, 50) != PromptMaker(5).text(9, 50)


def test_texts_share_no_beginning() -> None:
    maker = PromptMaker(0)
    beginnings = {" ".join(maker.text(i, 64).split()[:16]) for i in range(500)}
    assert len(beginnings) == 500


def test_even_an_empty_prompt_is_a_word() -> None:
    assert PromptMaker(0).text(0, 0) in WORDS
