"""Golden items as token ids of one model, and the reference that the float32 model adds to them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from autotuner.worker.chat_template import ChatTemplate, ChatTemplateError
from autotuner.worker.probe.golden import GoldenError, GoldenItem, Text
from autotuner.worker.tokens import TextTokenizer


@dataclass(frozen=True)
class GoldenTokens:
    """What the reference is made from. An `answer` of None is generated, greedily."""

    prompt: tuple[int, ...]
    answer: tuple[int, ...] | None
    expected: str | None
    max_tokens: int


@dataclass(frozen=True)
class GoldenAnswer:
    """An answer with the float32 model's log-probability of each of its tokens."""

    prompt: tuple[int, ...]
    answer: tuple[int, ...]
    log_probs: tuple[float, ...]
    expected: str | None
    max_tokens: int


class GoldenTokeniser:
    """Knows a model's tokenizer, chat template and context length (tokens)."""

    def __init__(
        self, tokenizer: TextTokenizer, chat_template: ChatTemplate, max_model_len: int
    ) -> None:
        self._tokenizer, self._chat_template = tokenizer, chat_template
        self._max_model_len = max_model_len

    def tokens(self, items: Sequence[GoldenItem]) -> tuple[GoldenTokens, ...]:
        """The items as token ids; raises GoldenError naming the item, the field and the fix."""
        return tuple(self._item(item, number) for number, item in enumerate(items, 1))

    def _item(self, item: GoldenItem, number: int) -> GoldenTokens:
        place = f"golden item {number}"
        prompt = self._prompt(item, place)
        answer = None if item.answer is None else self._ids(item.answer, place, "answer", False)
        length = len(prompt) + max(item.max_tokens, len(answer or ()))
        if length > self._max_model_len:
            raise GoldenError(
                f"{place}: prompt and answer make {length} tokens and the context has "
                f"{self._max_model_len}: shorten them, or lower max_tokens"
            )
        return GoldenTokens(prompt, answer, item.expected, item.max_tokens)

    def _prompt(self, item: GoldenItem, place: str) -> tuple[int, ...]:
        prompt = item.prompt
        if isinstance(prompt, str):
            return self._ids(prompt, place, "prompt", True)
        if isinstance(prompt[0], int):
            return self._ids(_ids_only(prompt), place, "prompt", True)
        turns = [turn for turn in prompt if not isinstance(turn, int)]
        try:
            text = self._chat_template.render(turns)
        except ChatTemplateError as error:
            raise GoldenError(f"{place}: messages: {error}") from error
        return self._ids(text, place, "messages", False)

    def _ids(self, text: Text, place: str, field: str, special: bool) -> tuple[int, ...]:
        if isinstance(text, str):
            ids = tuple(self._tokenizer.encode(text, add_special_tokens=special))
        else:
            ids = text
        unknown = [token for token in ids if token >= self._tokenizer.vocab_size]
        if unknown or not ids:
            last = self._tokenizer.vocab_size - 1
            what = f"={unknown[0]}: no such token" if unknown else ": no tokens"
            raise GoldenError(f"{place}: {field}{what}: give at least one id from 0 to {last}")
        return ids


def _ids_only(prompt: Sequence[object]) -> tuple[int, ...]:
    return tuple(token for token in prompt if isinstance(token, int))
