"""Golden items as token ids of a model with ten words."""

from __future__ import annotations

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers

from autotuner.worker.chat_template import ChatTemplate
from autotuner.worker.probe.golden import GoldenError, GoldenItem
from autotuner.worker.probe.tokenise import GoldenTokeniser, GoldenTokens
from autotuner.worker.tokens import TextTokenizer

WORDS = ["?", "user", "assistant", "zero", "one", "two", "three", "four", "five", "six"]
TEMPLATE = "{% for m in messages %}{{ m.role }} {{ m.content }} {% endfor %}assistant"


def _tokeniser(template: str | None = TEMPLATE, max_model_len: int = 40) -> GoldenTokeniser:
    vocab = {word: i for i, word in enumerate(WORDS)}
    tokenizer = Tokenizer(models.WordLevel(vocab, unk_token="?"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return GoldenTokeniser(TextTokenizer(tokenizer), ChatTemplate(template, {}), max_model_len)


def test_texts_ids_and_conversations() -> None:
    turns = ({"role": "user", "content": "one two"},)
    items = [GoldenItem("one two", "three"), GoldenItem((4, 5), (6, 7)), GoldenItem(turns)]
    assert _tokeniser().tokens(items) == (
        GoldenTokens((4, 5), (6,), None, 24),
        GoldenTokens((4, 5), (6, 7), None, 24),
        GoldenTokens((1, 4, 5, 2), None, None, 24),
    )


@pytest.mark.parametrize(
    ("item", "told"),
    [
        (GoldenItem((4, 10)), "prompt=10: no such token: give at least one id from 0 to 9"),
        (GoldenItem("one", (99,)), "answer=99: no such token"),
        (GoldenItem("one", " "), "answer: no tokens"),
        (GoldenItem("one", (1,) * 40), "make 41 tokens and the context has 40"),
        (GoldenItem("one", None, None, 50), "make 51 tokens and the context has 40"),
    ],
)
def test_what_the_model_cannot_take_is_told(item: GoldenItem, told: str) -> None:
    with pytest.raises(GoldenError) as caught:
        _tokeniser().tokens([GoldenItem("one"), item])
    assert str(caught.value).startswith("golden item 2: ")
    assert told in str(caught.value)


def test_a_conversation_needs_a_chat_template() -> None:
    item = GoldenItem(({"role": "user", "content": "one"},))
    with pytest.raises(GoldenError, match=r"golden item 1: messages: .*no chat template"):
        _tokeniser(None).tokens([item])
