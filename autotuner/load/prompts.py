"""Prompt text of an asked length: real words, another text for each request.

Texts share no beginning, so a server's prefix cache can't serve one from another by accident.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import numpy as np

from autotuner.domain.errors import ConfigError

# Plain words, which nearly every vocabulary holds as one token behind a space.
_TEXT = """
time year people way day man thing woman life child world school state family student group country
problem hand part place case week company system program question work government number night
point home water room mother area money story fact month right study book eye job word business
issue side kind head house service friend father power hour game line end member law car city name
president team minute idea body information back parent face others level office door health person
art history party result change morning reason research moment air teacher force education foot boy
age policy music market sense nation plan college interest experience effect use class control
field development role effort rate heart show leader light voice mind price report decision son
view relationship town road arm difference value building action season society tax director
position player record paper space ground form event matter center couple site project activity
star table need court oil situation cost industry figure street image phone data picture practice
piece land product doctor wall patient worker news test movie north love support technology river
stone green blue small large early late open close long short high low good new old great little
young important public bad same able find give tell ask seem feel try leave call keep let begin
help hear play run move live believe bring happen write sit stand lose pay meet include continue
set learn lead understand watch follow stop create speak read spend grow walk win teach offer
remember consider appear buy serve send build stay fall cut reach raise pass sell decide return
explain hope carry
"""
WORDS = tuple(dict.fromkeys(_TEXT.split()))


class Encoder(Protocol):
    """Counts tokens as the server's tokenizer does."""

    def count(self, text: str) -> int: ...


class TokenizerFile:
    """An Encoder from a `tokenizer.json`. Raises ConfigError where it can't be read."""

    def __init__(self, path: Path) -> None:
        try:
            from tokenizers import Tokenizer

            self._tokenizer = Tokenizer.from_file(str(path))
        except ImportError as error:
            raise ConfigError(
                f"tokenizer={str(path)!r}: needs the package `tokenizers` (autotuner[worker])"
            ) from error
        except Exception as error:  # the library raises nothing narrower
            raise ConfigError(
                f"tokenizer={str(path)!r}: can't be read: {error}; give a tokenizer.json"
            ) from error

    def count(self, text: str) -> int:
        return len(self._tokenizer.encode(text).ids)


class PromptMaker:
    """Texts of an asked number of tokens; the same for the same seed and index.

    Exact with an encoder (the server's tokenizer), else a word is taken as a token.
    """

    def __init__(self, seed: int, encoder: Encoder | None = None) -> None:
        self._seed = seed
        self._encoder = encoder
        self._words = np.array(WORDS if encoder is None else _single(encoder))
        # What the tokenizer adds to every text, such as a token for its beginning.
        self._added = 0 if encoder is None else encoder.count("")

    def text(self, index: int, tokens: int) -> str:
        """The text of request `index`: `tokens` long, at least a word."""
        words = self._draw(index, max(1, tokens - self._added))
        if self._encoder is None:
            return " ".join(words)
        return self._fitted(words, tokens, self._encoder)

    def _draw(self, index: int, count: int) -> list[str]:
        rng = np.random.default_rng((self._seed, index))
        drawn: list[str] = rng.choice(self._words, size=count).tolist()
        return drawn

    def _fitted(self, words: list[str], tokens: int, encoder: Encoder) -> str:
        """The words with some taken off or added until the count is right, or else is nearest.

        With words of one token each, the first count is right.
        """
        nearest: tuple[int, str] | None = None
        for _ in range(8):
            text = " ".join(words)
            counted = encoder.count(text)
            distance = abs(counted - tokens)
            if nearest is None or distance < nearest[0]:
                nearest = distance, text
            if distance == 0:
                break
            words = _resized(words, (tokens - counted) * len(words) / counted)
        assert nearest is not None
        return nearest[1]


def _resized(words: list[str], by: float) -> list[str]:
    """The words with `by` more (fewer where negative), at least one more or fewer."""
    step = round(by) or (1 if by > 0 else -1)
    size = max(1, len(words) + step)
    return (words * (size // len(words) + 1))[:size]


def _single(encoder: Encoder) -> list[str]:
    """The words that are one token each, alone and behind another word."""
    empty, base = encoder.count(""), encoder.count("time")
    found = [
        word
        for word in WORDS
        if encoder.count(word) == empty + 1 and encoder.count(f"time {word}") == base + 1
    ]
    if len(found) < 50:  # chosen: too few to tell texts apart
        return list(WORDS)
    return found
