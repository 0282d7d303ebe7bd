"""Files of examples of two topics: known ones, and six in ten that are nearly copies of them."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from autotuner.finetune.examples import Example, held_out
from experiments.studies.example_similarity import corpus

COPIES = 0.6  # of a file's examples
# Of the ways of A's study those that keep an example's words: what logs of a service repeat.
WAYS = ("case, punctuation, spaces", "typing errors, 3%", "polite words around", "the end cut off")


@dataclass(frozen=True)
class Material:
    """`rows`: what is in the file; `copy_of`: the original's place of each row, None for one."""

    rows: tuple[Example, ...]
    copy_of: tuple[int | None, ...]

    @property
    def copies(self) -> int:
        return sum(origin is not None for origin in self.copy_of)

    def write(self, file: Path) -> None:
        """JSON lines; moved into place, so that none is read half written."""
        fresh = file.with_suffix(".part")
        fresh.write_text("".join(_line(row) for row in self.rows), encoding="utf-8")
        fresh.replace(file)

    def all_to_train_on(self, share: float) -> list[Example]:
        """Every row, copies too, save for those that are held out and the copies of those."""
        kept = [
            row
            for row, origin in zip(self.rows, self.copy_of, strict=True)
            if not held_out(row if origin is None else self.rows[origin], share)
        ]
        return [row for row in kept if not held_out(row, share)]


def topics(count: int, seed: int) -> tuple[list[Example], list[Example], list[Example]]:
    """`count` questions on numerics, as many on the standard library, and others on that."""
    found = corpus.questions(10_000, random.Random(seed))
    numeric = [one for one in found if "numpy" in one.prompt or "scipy" in one.prompt]
    others = [one for one in found if one not in numeric]
    return numeric[:count], others[:count], others[count : 2 * count]


def with_copies(originals: Sequence[Example], seed: int) -> Material:
    """The originals first, as a service meets them, then copies up to their share."""
    draw = random.Random(seed)
    words = sorted({word for one in originals for word in one.answer.split()})
    rows, copy_of = list(originals), [None] * len(originals)
    wanted = round(len(originals) * COPIES / (1 - COPIES))
    places: list[int | None] = list(copy_of)
    while len(rows) < len(originals) + wanted:
        at = draw.randrange(len(originals))
        ways = corpus.edits(originals[at], draw, words)
        way = draw.choice([way for way in WAYS if way in ways])
        rows.append(ways[way])
        places.append(at)
    return Material(tuple(rows), tuple(places))


def shuffled(originals: Sequence[Example], seed: int) -> Material:
    """Each prompt with the answer of another."""
    answers = [one.answer for one in originals]
    drawn = random.Random(seed).sample(answers, len(answers))
    rows = tuple(Example(one.prompt, answer) for one, answer in zip(originals, drawn, strict=True))
    return Material(rows, (None,) * len(rows))


def _line(row: Example) -> str:
    return json.dumps({"prompt": row.prompt, "answer": row.answer}) + "\n"
