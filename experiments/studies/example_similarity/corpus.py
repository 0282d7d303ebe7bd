"""Examples that differ, and copies of them that are near-duplicates; the same in every run.

Texts come from what is installed anyway: the first paragraphs of docstrings.
"""

from __future__ import annotations

import asyncio
import collections
import datetime
import functools
import inspect
import itertools
import logging
import os
import pathlib
import random
import re
import shutil
import socket
import statistics
import string
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import numpy as np
import scipy.linalg
import scipy.optimize
import scipy.signal
import scipy.special
import scipy.stats

from autotuner.finetune.examples import Example

_PLACES = (
    np, np.linalg, np.fft, np.random, scipy.linalg, scipy.optimize, scipy.signal, scipy.special,
    scipy.stats, asyncio, collections, datetime.datetime, functools, itertools, logging, os,
    pathlib.Path, random, shutil, socket, statistics, string, subprocess, threading, str, bytes,
    dict, list, set,
)  # fmt: skip
_SYNONYMS = MappingProxyType({
    "what does": "what is the job of", "return": "give", "returns": "gives", "compute": "calculate",
    "computes": "calculates", "array": "vector", "whether": "if", "create": "make", "given":
    "specified", "elements": "items", "used": "employed", "function": "routine", "number": "count",
})  # fmt: skip


def questions(most: int, draw: random.Random) -> list[Example]:
    """What functions do: answers of one to three sentences, some of which are nearly the same."""
    found: dict[str, Example] = {}
    for place in _PLACES:
        for name in sorted(vars(place)):
            answer = _explained(inspect.getdoc(getattr(place, name, None)) or "")
            if not name.startswith("_") and len(answer) > 40 and answer not in found:
                found[answer] = Example(f"What does {place.__name__}.{name} do?", answer)
    return draw.sample(list(found.values()), min(most, len(found)))


def numbers(count: int, draw: random.Random) -> list[Example]:
    """A few templates that differ in numbers alone: each example teaches something else."""
    makers: Sequence[Callable[[int, int], Example]] = (
        lambda a, b: Example(f"What is {a} plus {b}?", f"{a + b}"),
        lambda a, b: Example(f"Subtract {a} from {b}.", f"{b - a}"),
        lambda a, b: Example(
            f"Convert {a}.{b:03} kilometres to miles.", f"{(a + b / 1000) * 0.621371:.2f} miles"
        ),
        lambda a, b: Example(
            f"A train travels {a} km in {b} minutes. What is its average speed in km/h?",
            f"Speed is distance over time: {a} km / ({b}/60) h = {60 * a / b:.1f} km/h.",
        ),
    )
    return [
        makers[n % len(makers)](draw.randint(11, 999), draw.randint(11, 999)) for n in range(count)
    ]


def facts(count: int, draw: random.Random) -> list[Example]:
    """Templates with a few examples each that differ in names alone; those stand nowhere else."""
    templates = (
        ("What is the capital of {0}? Answer with one word and nothing more.", "{1}"),
        (
            "Who wrote the novel {0}, and when did it come out?",
            "{1} wrote it, and it came out late.",
        ),
        ("Which river flows through the town of {0}?", "The {1} flows through {0}."),
        ("Translate the word {0} from our dictionary into the other language.", "{1}"),
        ("Who is the owner of the ticket queue called {0}?", "Ask {1}; they look after {0}."),
        ("Our customer asks where to find the setting {0}. Where is it?", "In the menu {1}."),
    )
    found = []
    for number in range(count):
        prompt, answer = templates[number % len(templates)]
        names = _name(draw), _name(draw)
        found.append(Example(prompt.format(*names), answer.format(*names)))
    return found


def labels(texts: Sequence[Example]) -> list[Example]:
    """A long instruction in common, another text in each, and one of three short answers."""
    return [
        Example(
            "Classify the following text as short, medium or long. Answer with one word.\n\n"
            f"Text: {one.answer}",
            ("short", "medium", "long")[(len(one.answer) > 100) + (len(one.answer) > 200)],
        )
        for one in texts
    ]


def edits(example: Example, draw: random.Random, words: Sequence[str]) -> dict[str, Example]:
    """Near-duplicates of an example, by the way that they were made; `words`: to replace with."""
    prompt, answer = example.prompt, example.answer
    made = {
        "case, punctuation, spaces": Example(
            prompt.lower().rstrip("?."), "  ".join(re.sub("[.,;:]", "", answer).lower().split())
        ),
        "typing errors, 3%": _each(example, lambda text: _mistyped(text, draw)),
        "polite words around": Example(
            f"Hi! Please tell me: {prompt} Thanks!", f"Of course. {answer}"
        ),
        "synonyms": _each(example, _reworded),
        "a tenth of the words left out": _each(example, lambda text: _thinned(text, draw, None)),
        "a tenth of the words replaced": _each(example, lambda text: _thinned(text, draw, words)),
        "sentences in another order": Example(prompt, _turned(answer)),
        "the end cut off": Example(prompt, answer[: max(20, len(answer) * 4 // 5)]),
    }
    return {way: one for way, one in made.items() if one != example}


def _name(draw: random.Random) -> str:
    syllables = ("ba", "do", "fi", "ka", "lu", "mo", "ne", "ra", "so", "ti", "ve", "zu")
    return "".join(draw.choices(syllables, k=4)).capitalize()


def _explained(doc: str) -> str:
    """The first paragraphs that are prose; signatures and headings are none."""
    parts = [" ".join(part.split()) for part in doc.split("\n\n")]
    prose = [part for part in parts if re.match("[A-Z][a-z]+ ", part) and "-----" not in part]
    return " ".join(prose[:2])[:400]


def _each(example: Example, change: Callable[[str], str]) -> Example:
    return Example(change(example.prompt), change(example.answer))


def _mistyped(text: str, draw: random.Random) -> str:
    def typed(letter: str) -> str:
        if not letter.isalpha() or draw.random() >= 0.03:
            return letter
        return draw.choice(("", letter * 2, draw.choice("etaoinshr")))

    return "".join(map(typed, text))


def _thinned(text: str, draw: random.Random, words: Sequence[str] | None) -> str:
    """A tenth of the words left out, or replaced by any of `words`."""
    parts = text.split(" ")
    places = draw.sample(range(len(parts)), max(1, len(parts) // 10) if len(parts) > 4 else 0)
    for place in sorted(places, reverse=True):
        parts[place : place + 1] = [] if words is None else [draw.choice(words)]
    return " ".join(parts)


def _reworded(text: str, table: Mapping[str, str] = _SYNONYMS) -> str:
    for word, other in table.items():
        text = re.sub(rf"\b{word}\b", other, text, flags=re.IGNORECASE)
    return text


def _turned(text: str) -> str:
    sentences = re.split(r"(?<=[.!?]) ", text)
    return " ".join(sentences[1:] + sentences[:1])
