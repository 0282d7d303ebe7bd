"""Which embedding tells near-duplicate examples from examples that are merely similar?

Copies edited in eight ways should lie above the threshold of 0.85, different examples below it.
"""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from autotuner.finetune.examples import Example
from autotuner.finetune.intake.embedding import text_of
from autotuner.finetune.intake.neighbours import AllOfThem, Indexed, fresh
from experiments.studies import _common
from experiments.studies.example_similarity.corpus import edits, facts, labels, numbers, questions
from experiments.studies.example_similarity.embeddings import Embed, of_the_model, ours
from experiments.studies.example_similarity.figure import draw

SEED = 0
THRESHOLD = 0.85


@dataclass(frozen=True)
class Plan:
    """How many different examples of each kind, how many are copied, and is the model compared?"""

    questions: int
    others: int
    copied: int
    model: bool


FULL = Plan(questions=500, others=150, copied=60, model=True)
QUICK = Plan(questions=200, others=60, copied=40, model=False)


@dataclass(frozen=True)
class Corpus:
    """`different`: by kind; `copies`: (original, copy, how it was made)."""

    different: dict[str, list[Example]]
    copies: list[tuple[Example, Example, str]]


def run(quick: bool, out: Path) -> dict[str, Any]:
    """Measures, writes results.json and figure.png into `out`, returns the results."""
    plan = QUICK if quick else FULL
    corpus = _corpus(plan)
    different = [text_of(one) for kind in corpus.different.values() for one in kind]
    copies = [text_of(copy) for _, copy, _ in corpus.copies]
    everything = [*different, *copies[:: len(copies) // (2 * plan.copied) or 1]]
    embeddings = ours(everything, different)
    rows = [_row(name, embed, corpus) for name, embed in embeddings.items()]
    if plan.model:
        rows += [
            _row(name, embed, corpus) for name, embed in of_the_model([*different, *copies]).items()
        ]
    ways = _both_ways(next(iter(embeddings.values())), [*different, *copies])
    content = _common.results(
        "example_similarity",
        packages=("numpy", "usearch", "transformers"),
        seeds=[SEED],
        rows=rows,
        checks=_checks(rows, ways),
        quick=quick,
        threshold=THRESHOLD,
        copies=len(copies),
        different={kind: len(some) for kind, some in corpus.different.items()},
        index=ways,
    )
    _common.write(out, content)
    draw(content, out / "figure.png")
    return content


def _corpus(plan: Plan) -> Corpus:
    draw_from = random.Random(SEED)
    asked = questions(plan.questions + plan.others, draw_from)
    different = {
        "questions": asked[: plan.questions],
        "numbers": numbers(plan.others, draw_from),
        "facts": facts(plan.others // 5, draw_from),
        "labels": labels(asked[plan.questions :]),
    }
    words = " ".join(one.answer for one in asked).split()
    originals = [*different["questions"][: plan.copied], *different["labels"][: plan.copied // 3]]
    copies = [
        (original, copy, way)
        for original in originals
        for way, copy in edits(original, draw_from, words).items()
    ]
    return Corpus(different, copies)


def _row(name: str, embed: Embed, corpus: Corpus) -> dict[str, Any]:
    began = time.process_time()
    originals = embed([text_of(original) for original, _, _ in corpus.copies])
    copies = embed([text_of(copy) for _, copy, _ in corpus.copies])
    cpu_s = time.process_time() - began
    found = (originals * copies).sum(axis=1) > THRESHOLD
    ways = np.array([way for _, _, way in corpus.copies])
    return {
        "embedding": name,
        "found": round(float(found.mean()), 4),
        "found_by_edit": {
            way: round(float(found[ways == way].mean()), 4) for way in dict.fromkeys(ways.tolist())
        },
        "lost": {
            kind: round(_lost(embed([text_of(one) for one in some])), 4)
            for kind, some in corpus.different.items()
        },
        "texts_per_cpu_s": None if name.startswith("SmolLM2") else round(2 * len(ways) / cpu_s),
    }


def _lost(vectors: Any) -> float:
    """The share of different examples that would be left out."""
    return 1 - float(fresh(vectors, AllOfThem([]), THRESHOLD).mean())


def _both_ways(embed: Embed, texts: list[str]) -> dict[str, Any]:
    """The same intake compared with all that is kept, and through the index."""
    vectors = embed(texts)
    kept = {}
    for name, seen in (("all", AllOfThem([])), ("index", Indexed(vectors.shape[1]))):
        parts = [fresh(vectors[at : at + 256], seen, THRESHOLD) for at in range(0, len(texts), 256)]
        kept[name] = np.concatenate(parts)
    return {
        "examples": len(texts),
        "kept_all": int(kept["all"].sum()),
        "kept_index": int(kept["index"].sum()),
        "same": round(float((kept["all"] == kept["index"]).mean()), 5),
    }


def _checks(rows: list[dict[str, Any]], ways: dict[str, Any]) -> list[dict[str, Any]]:
    default, before = rows[0], rows[1]
    check = _common.check
    return [
        check("near-duplicates found", default["found"], "of copies", 0.9, "at_least"),
        check(
            "near-duplicates found, frequencies from before",
            before["found"],
            "of copies",
            0.85,
            "at_least",
        ),
        *(
            check(f"different {kind} lost", lost, "of examples", 0.1, "at_most")
            for kind, lost in default["lost"].items()
        ),
        check("index and comparison with all agree", ways["same"], "of examples", 0.99, "at_least"),
    ]
