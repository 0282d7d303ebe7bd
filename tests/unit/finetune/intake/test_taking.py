"""Whole files: what is kept, what is left out and counted, what is refused with nothing written."""

from __future__ import annotations

import gzip
import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from autotuner.finetune.errors import FineTuningError, RefusedFileError
from autotuner.finetune.intake.rules import IntakeRules
from autotuner.finetune.intake.taking import take_in
from autotuner.finetune.store import ExampleStore
from tests.unit.finetune.intake.given import distinct, write

RULES = IntakeRules()


@pytest.fixture
def store(tmp_path: Path) -> ExampleStore:
    return ExampleStore(tmp_path / "store")


def _files(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != ".lock"
    }


def _turned(text: str) -> str:
    """The words the other way round: a near-duplicate for certain, and no exact one."""
    return " ".join(reversed(text.split()))


def test_every_example_is_kept_or_counted_among_those_left_out(
    tmp_path: Path, store: ExampleStore
) -> None:
    pairs = distinct(120)
    near = [(_turned(prompt), _turned(answer)) for prompt, answer in pairs[:70]]
    odd = [("", "b"), ("a", " "), ("a\ud800", "b"), ("\x00", "b")]
    file = write(tmp_path / "new.jsonl", [*pairs, *pairs[:30], *near, *odd])
    made = take_in(file, store, RULES)
    assert (made.number, made.source, made.read, made.kept) == (1, "new.jsonl", 224, 120)
    assert (made.exact_duplicates, made.near_duplicates) == (30, 70)
    assert made.dropped == {"empty_prompt": 2, "empty_answer": 1, "not_unicode": 1}
    assert made.sha256 == hashlib.sha256(file.read_bytes()).hexdigest()
    kept = {(one.prompt, one.answer) for one in store.kept(1)}
    assert kept == set(pairs)
    assert store.versions() == [made]


def test_a_later_file_is_held_against_all_earlier_ones(tmp_path: Path, store: ExampleStore) -> None:
    pairs = distinct(150, seed=3)
    take_in(write(tmp_path / "1.jsonl", pairs[:50]), store, RULES)
    take_in(write(tmp_path / "2.jsonl", pairs[50:100]), store, RULES)
    again = [(_turned(prompt), answer) for prompt, answer in pairs[:100:2]]
    made = take_in(write(tmp_path / "3.jsonl", [*again, *pairs[100:], *pairs[1:3]]), store, RULES)
    assert (made.number, made.kept, made.near_duplicates, made.exact_duplicates) == (3, 50, 50, 2)


def test_the_same_bytes_again_change_nothing(tmp_path: Path, store: ExampleStore) -> None:
    file = write(tmp_path / "a.jsonl", distinct(20))
    made, before = take_in(file, store, RULES), _files(store.folder)
    shutil.copy(file, tmp_path / "b.jsonl")
    assert take_in(tmp_path / "b.jsonl", store, RULES) == made
    assert _files(store.folder) == before


def test_a_file_of_duplicates_alone_makes_an_empty_version(
    tmp_path: Path, store: ExampleStore
) -> None:
    pairs = distinct(20)
    take_in(write(tmp_path / "a.jsonl", pairs), store, RULES)
    made = take_in(write(tmp_path / "b.jsonl", pairs[:5]), store, RULES)
    assert (made.number, made.kept, made.exact_duplicates) == (2, 0, 5)
    assert list(store.kept(2)) == []
    more = take_in(write(tmp_path / "c.jsonl", distinct(10, seed=9)), store, RULES)
    assert (more.number, more.kept) == (3, 10)


def test_low_scores_are_left_out_and_do_not_speak_against_the_file(
    tmp_path: Path, store: ExampleStore
) -> None:
    file = tmp_path / "scored.jsonl"
    rows = [{"prompt": p, "answer": a, "score": n / 10} for n, (p, a) in enumerate(distinct(10))]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    made = take_in(file, store, IntakeRules(minimum_score=0.75))
    assert (made.kept, made.dropped) == (2, {"low_score": 8})
    assert {one.score for one in store.kept(1)} == {0.8, 0.9}


GOOD = b'{"prompt": "a", "answer": "b"}\n'
POISONED: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "a huge line": (lambda good: good + b'{"prompt": "' + b"x" * 300_000, "longer than 262144"),
    "a program": (lambda good: b"\x7fELF\x02\x01\x01\x00" + bytes(2000), "NUL"),
    "packed": (gzip.compress, "line 1: "),
    "cut inside a character": (lambda good: good + '{"prompt": "é'.encode()[:-1], "not UTF-8"),
    "a NUL": (lambda good: good + good.replace(b"b", b"\x00"), "NUL"),
    "deep JSON": (lambda good: good + b'{"a":' * 40_000, "nested too deeply"),
    "cut inside a line": (lambda good: good[:-9], "not JSON"),
    "empty": (lambda good: b"", "holds no example"),
    "empty lines": (lambda good: b"\n \n", "holds no example"),
    "mostly broken": (
        lambda good: good + b'{"prompt": "", "answer": "b"}\n' * 80,
        "80 of 130 examples are broken (empty_prompt 80), more than 50%",
    ),
}


@pytest.mark.parametrize("how", POISONED)
def test_a_poisoned_file_is_refused_whole(tmp_path: Path, store: ExampleStore, how: str) -> None:
    take_in(write(tmp_path / "before.jsonl", distinct(30)), store, RULES)
    before = _files(store.folder)
    spoil, words = POISONED[how]
    file = write(tmp_path / "bad.jsonl", distinct(50, seed=5))
    file.write_bytes(spoil(file.read_bytes()))
    with pytest.raises(RefusedFileError) as refused:
        take_in(file, store, RULES)
    assert words in str(refused.value)
    assert "bad.jsonl" in str(refused.value)
    assert _files(store.folder) == before
    assert not (store.folder / ".new").exists()


def test_a_wrong_checksum_refuses_a_good_file(tmp_path: Path, store: ExampleStore) -> None:
    file = write(tmp_path / "a.jsonl", distinct(3))
    right = hashlib.sha256(file.read_bytes()).hexdigest()
    (tmp_path / "a.jsonl.sha256").write_text(f"{right}  a.jsonl\n")
    file.write_bytes(file.read_bytes() + GOOD)
    with pytest.raises(RefusedFileError, match="the checksum says"):
        take_in(file, store, IntakeRules(checksum_required=True))
    assert not store.folder.exists()
    now = hashlib.sha256(file.read_bytes()).hexdigest()
    assert take_in(file, store, RULES, checksum=now).read == 4


def test_what_is_no_file_or_too_large_is_refused(tmp_path: Path, store: ExampleStore) -> None:
    with pytest.raises(RefusedFileError, match="there is no such file"):
        take_in(tmp_path / "none.jsonl", store, RULES)
    with pytest.raises(RefusedFileError, match="is no file"):
        take_in(tmp_path, store, RULES)
    with pytest.raises(RefusedFileError, match="is no file"):
        take_in(Path("/dev/zero"), store, RULES)
    file = write(tmp_path / "a.jsonl", distinct(3))
    with pytest.raises(RefusedFileError, match="more than 100: split it"):
        take_in(file, store, IntakeRules(most_file_bytes=100))


@pytest.mark.parametrize("how", ["none", "cut", "other"])
def test_what_is_derived_may_be_lost(tmp_path: Path, store: ExampleStore, how: str) -> None:
    pairs = distinct(90, seed=6)
    take_in(write(tmp_path / "1.jsonl", pairs[:60]), store, RULES)
    derived = store.folder / "vectors"
    if how == "none":
        shutil.rmtree(derived)
    for path in derived.rglob("*.np?"):
        if how == "cut":
            path.write_bytes(path.read_bytes()[:-10])
        elif path.suffix == ".npy":
            np.save(path, np.zeros((3, 3)))
    near = [(_turned(prompt), answer) for prompt, answer in pairs[:60]]
    made = take_in(write(tmp_path / "2.jsonl", [*near, *pairs[60:]]), store, RULES)
    assert (made.kept, made.near_duplicates) == (30, 60)


def test_an_index_keeps_the_same_and_goes_on_from_its_file(tmp_path: Path) -> None:
    pairs = distinct(400, seed=8)
    parts = [pairs[at : at + 100] for at in range(0, 400, 100)]
    for at in (1, 2, 3):
        parts[at] = [*parts[at], *((_turned(p), a) for p, a in pairs[: at * 60])]
    kept = []
    for name, rules in (("all", RULES), ("index", IntakeRules(exact_up_to=150))):
        store = ExampleStore(tmp_path / name)
        for at, part in enumerate(parts):
            take_in(write(tmp_path / f"{name}{at}.jsonl", part), store, rules)
            if (name, at) == ("index", 2):
                shutil.rmtree(next(store.folder.glob("vectors/*/index.*")).parent)
        kept.append({number: set(store.kept(number)) for number in (1, 2, 3, 4)})
        indexes = [path.name for path in store.folder.glob("vectors/*/*index*")]
        assert indexes == (["index.000004"] if name == "index" else [])
    assert kept[0] == kept[1]
    everything = {(one.prompt, one.answer) for part in kept[0].values() for one in part}
    assert everything <= set(pairs)
    assert len(everything) > 390  # a few are near to each other by chance


def test_rules_that_make_no_sense_are_refused() -> None:
    with pytest.raises(FineTuningError, match=r"near_duplicate=1\.5: give a number from 0 to 1"):
        IntakeRules(near_duplicate=1.5)
    with pytest.raises(FineTuningError, match="most_line_bytes=0"):
        IntakeRules(most_line_bytes=0)
