"""Files of examples that tests take in."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable
from pathlib import Path

WORDS = [
    "river",
    "copper",
    "lantern",
    "engine",
    "harbour",
    "violin",
    "meadow",
    "glacier",
    "pepper",
    "marble",
    "anchor",
    "timber",
    "falcon",
    "orchard",
    "velvet",
    "compass",
    "thunder",
    "saddle",
    "walnut",
    "cinder",
    "beacon",
    "ribbon",
    "tunnel",
    "canyon",
    "kettle",
    "sparrow",
    "barley",
    "magnet",
    "garden",
    "hollow",
    "mirror",
    "parcel",
    "rocket",
    "silver",
    "temple",
    "valley",
]


def distinct(count: int, seed: int = 0) -> list[tuple[str, str]]:
    """Pairs of prompt and answer that have few words in common."""
    draw = random.Random(seed)
    return [(" ".join(draw.choices(WORDS, k=12)), " ".join(draw.choices(WORDS, k=12)))
            for _ in range(count)]  # fmt: skip


def write(path: Path, pairs: Iterable[tuple[str, str]]) -> Path:
    lines = (json.dumps({"prompt": prompt, "answer": answer}) for prompt, answer in pairs)
    path.write_text("".join(f"{line}\n" for line in lines))
    return path
