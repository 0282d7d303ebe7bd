"""Text to token ids and back: a model folder's tokenizer, and text that grows token by token."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, Self

from tokenizers import Tokenizer

REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
MAX_HELD_TOKENS = 5  # a character has at most 4 bytes: after more tokens the bytes are broken


class Decodes(Protocol):
    """Turns token ids into text, special tokens left out."""

    def decode(self, ids: Sequence[int]) -> str: ...


class TextTokenizer:
    """A model's tokenizer.json (Hugging Face `tokenizers`)."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self.vocab_size: int = tokenizer.get_vocab_size(with_added_tokens=True)

    @classmethod
    def from_folder(cls, folder: Path) -> Self:
        """Reads FOLDER/tokenizer.json; raises FileNotFoundError when there is none."""
        path = folder / "tokenizer.json"
        if not path.is_file():
            raise FileNotFoundError(
                f"model={str(folder)!r}: no tokenizer.json there: give a model folder"
            )
        return cls(Tokenizer.from_file(str(path)))

    def encode(self, text: str, *, add_special_tokens: bool) -> list[int]:
        """The text's token ids; special tokens as the model wants them around a plain prompt."""
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=add_special_tokens).ids
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        text: str = self._tokenizer.decode(ids, skip_special_tokens=True)
        return text


class Detokenizer:
    """Text piece by piece: what was given out never changes, and no character is cut in two.

    A token's text can depend on the ones before it, so each piece is the difference between two
    decodings that start at the same earlier token. Bytes that do not yet end a character are held
    back; bytes that never will come out as replacement characters.
    """

    def __init__(self, tokenizer: Decodes) -> None:
        self._tokenizer = tokenizer
        self._ids: list[int] = []  # a few tokens of context, then those not given out yet
        self._context = 0

    def push(self, token_id: int) -> str:
        """The text that this token completes; empty while a character is unfinished."""
        self._ids.append(token_id)
        text = self._unseen()
        held = len(self._ids) - self._context
        if text.endswith(REPLACEMENT) and held < MAX_HELD_TOKENS:
            return ""
        self._forget()
        return text

    def flush(self) -> str:
        """What is still held back, at the end of the answer."""
        text = self._unseen()
        self._forget()
        return text

    def _unseen(self) -> str:
        known = self._tokenizer.decode(self._ids[: self._context])
        return self._tokenizer.decode(self._ids)[len(known) :]

    def _forget(self) -> None:
        self._ids = self._ids[self._context :]
        self._context = len(self._ids)


class StopScanner:
    """Cuts text at the first stop string, which may span pieces; the stop string is left out."""

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = tuple(stops)
        self._held = ""

    def push(self, text: str) -> tuple[str, bool]:
        """(text that can be given out, whether a stop string was met).

        Text that may be the start of a stop string is held back until more text decides.
        """
        if not self._stops:
            return text, False
        text = self._held + text
        met = [at for stop in self._stops if (at := text.find(stop)) >= 0]
        if met:
            self._held = ""
            return text[: min(met)], True
        kept = max(_overlap(text, stop) for stop in self._stops)
        self._held = text[len(text) - kept :]
        return text[: len(text) - kept], False

    def flush(self) -> str:
        """What is still held back, at the end of the answer."""
        text, self._held = self._held, ""
        return text


def _overlap(text: str, stop: str) -> int:
    """Length of the longest end of `text` that is a start of `stop`, and not all of it."""
    for length in range(min(len(text), len(stop) - 1), 0, -1):
        if text.endswith(stop[:length]):
            return length
    return 0
