"""Examples as token ids of one model: what it is given and what it has to answer.

The ids are those that the worker makes of the same texts: prompt and answer are tokenised apart.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from autotuner.finetune.errors import TrainingError
from autotuner.finetune.examples import Example
from autotuner.finetune.training.base import Base
from autotuner.finetune.training.plan import PromptForm


@dataclass(frozen=True)
class TokenExample:
    """`ids` of prompt and answer; the answer begins at `answer_from`, which is 1 at least."""

    ids: tuple[int, ...]
    answer_from: int

    @property
    def answer_tokens(self) -> int:
        return len(self.ids) - self.answer_from


class Tokeniser:
    """Knows a model's tokenizer, its end token and the form that prompts take."""

    def __init__(self, base: Base, prompt_form: PromptForm, max_tokens: int) -> None:
        self._tokenizer = base.load_tokenizer()
        self._prompt_form, self._max_tokens = prompt_form, max_tokens
        if self._tokenizer.eos_token_id is None:
            raise TrainingError(
                f"base={base.name!r}: its tokenizer has no end token: set eos_token"
            )
        if prompt_form == "chat" and not self._tokenizer.chat_template:
            raise TrainingError(
                f"prompt_form='chat': {base.name} has no chat template: give 'plain'"
            )

    def all(self, examples: Iterable[Example]) -> list[TokenExample]:
        """One for each example, in their order."""
        return [self.tokens(example) for example in examples]

    def tokens(self, example: Example) -> TokenExample:
        """The example's ids: the answer ends with the end token, unless it was too long.

        An answer may fill all of `max_tokens` but one; the prompt keeps its end, as much as fits.
        """
        answer = [*self._ids(example.answer, special=False), self._tokenizer.eos_token_id]
        answer = answer[: self._max_tokens - 1]
        prompt = self._prompt(example.prompt)[-(self._max_tokens - len(answer)) :]
        return TokenExample((*prompt, *answer), len(prompt))

    def _prompt(self, text: str) -> list[int]:
        if self._prompt_form == "chat":
            turns = [{"role": "user", "content": text}]
            text = self._tokenizer.apply_chat_template(
                turns, tokenize=False, add_generation_prompt=True
            )
        ids = self._ids(text, special=self._prompt_form == "plain")
        return ids or [self._tokenizer.eos_token_id]  # something has to stand before the answer

    def _ids(self, text: str, *, special: bool) -> list[int]:
        backend: Any = self._tokenizer.backend_tokenizer
        ids: list[int] = backend.encode(text, add_special_tokens=special).ids
        return ids
