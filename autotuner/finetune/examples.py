"""One example, how it stands in a line of a file, and on which side of the split it falls. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_DIGEST_BYTES = 8


@dataclass(frozen=True)
class Example:
    """What a model is asked and what it should answer; `score` is how good that is, 0 to 1."""

    prompt: str
    answer: str
    score: float | None = None

    @property
    def key(self) -> int:
        """64 bits of a hash of prompt and answer: equal for exact duplicates, whatever the score.

        Two different ones among a million share a key with a chance of 3e-8.
        """
        return _hash(json.dumps([self.prompt, self.answer]))


def held_out(example: Example, share: float) -> bool:
    """Is it kept from training? Decided by a hash of its prompt, so the same for ever.

    `share`: of all prompts, 0 to 1. Prompts that differ in case and spaces alone fall on the same
    side: a model would answer the one from having learnt the other.
    """
    return split_hash(example) < share * 2.0 ** (8 * _DIGEST_BYTES)


def split_hash(example: Example) -> int:
    """64 bits of a hash of the prompt, without regard to case and spaces."""
    return _hash(" ".join(example.prompt.casefold().split()))


def to_line(example: Example) -> str:
    """One line of JSONL, with its end; ASCII, so that no reader splits it elsewhere."""
    raw: dict[str, Any] = {"prompt": example.prompt, "answer": example.answer}
    if example.score is not None:
        raw["score"] = example.score
    return json.dumps(raw) + "\n"


def from_fields(raw: Mapping[str, Any]) -> Example:
    """What `to_line` wrote, after JSON; raises KeyError, TypeError or ValueError for another."""
    prompt, answer, score = raw["prompt"], raw["answer"], raw.get("score")
    if not (isinstance(prompt, str) and isinstance(answer, str)):
        raise TypeError("prompt and answer must be texts")
    return Example(prompt, answer, None if score is None else float(score))


def _hash(text: str) -> int:
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=_DIGEST_BYTES)
    return int.from_bytes(digest.digest(), "big")
