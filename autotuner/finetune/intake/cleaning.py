"""What is mended in an example's text, and what makes it useless. Pure."""

from __future__ import annotations

import re
import unicodedata
from enum import StrEnum

from autotuner.finetune.examples import Example

# Control characters save tab and line feed, and the mark of byte order.
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ufeff]")
_SURROGATE = re.compile("[\ud800-\udfff]")


class Dropped(StrEnum):
    """Why an example of a good file is left out."""

    EMPTY_PROMPT = "empty_prompt"
    EMPTY_ANSWER = "empty_answer"
    NOT_UNICODE = "not_unicode"
    LOW_SCORE = "low_score"

    @property
    def broken(self) -> bool:
        """Does it speak against the file? A low score is no fault of it."""
        return self is not Dropped.LOW_SCORE


def clean(example: Example, minimum_score: float) -> Example | Dropped:
    """The example with clean texts, or why it is dropped.

    Texts are brought to Unicode's form NFC, with line feeds as ends of lines, without control
    characters and without spaces at both ends. Half a surrogate pair means that characters were
    lost on the way, so it is not mended.
    """
    if _SURROGATE.search(example.prompt) or _SURROGATE.search(example.answer):
        return Dropped.NOT_UNICODE
    prompt, answer = _clean(example.prompt), _clean(example.answer)
    if not prompt:
        return Dropped.EMPTY_PROMPT
    if not answer:
        return Dropped.EMPTY_ANSWER
    if example.score is not None and example.score < minimum_score:
        return Dropped.LOW_SCORE
    return Example(prompt, answer, example.score)


def _clean(text: str) -> str:
    lines = text.replace("\r\n", "\n").replace("\r", "\n")
    return unicodedata.normalize("NFC", _CONTROL.sub("", lines)).strip()
