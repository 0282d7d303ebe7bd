"""How many tokens a prompt has that nobody counted: from its characters and what others had."""

from __future__ import annotations

_FIRST_GUESS = 0.25  # tokens a character: English text, about
_WEIGHT = 0.05  # chosen: of one more prompt, so that twenty tell most of it


class PromptLengths:
    """Learns the tokens per character from prompts whose count the server told."""

    def __init__(self) -> None:
        self._tokens_per_char = _FIRST_GUESS

    def learn(self, chars: int, tokens: int) -> None:
        if chars > 0:
            self._tokens_per_char += _WEIGHT * (tokens / chars - self._tokens_per_char)

    def guess(self, chars: int) -> int:
        return round(chars * self._tokens_per_char)
