"""Versions that stay, draws that come back, the golden file, and a broken folder."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from autotuner.finetune.errors import StoreBusyError, StoreError
from autotuner.finetune.examples import Example, held_out
from autotuner.finetune.intake.rules import IntakeRules
from autotuner.finetune.intake.taking import take_in
from autotuner.finetune.store import ExampleStore
from autotuner.worker.probe.golden import parse_golden
from tests.unit.finetune.intake.given import distinct, write

RULES = IntakeRules()
PAIRS = distinct(300)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> ExampleStore:
    """Three versions of 100 examples each."""
    folder = tmp_path_factory.mktemp("examples")
    made = ExampleStore(folder / "store", held_out_share=0.2)
    for part in range(3):
        pairs = PAIRS[part * 100 : part * 100 + 100]
        take_in(write(folder / f"{part}.jsonl", pairs), made, RULES)
    return made


def test_training_and_held_out_share_nothing_and_miss_nothing(store: ExampleStore) -> None:
    training, apart = list(store.training(1, 3)), store.held_out(3)
    assert {(one.prompt, one.answer) for one in [*training, *apart]} == set(PAIRS)
    assert len(training) + len(apart) == 300
    assert all(held_out(one, 0.2) for one in apart)
    assert not any(held_out(one, 0.2) for one in training)
    assert [one.held_out for one in store.versions()] == [
        len(store.held_out(last)) - len(store.held_out(last - 1)) for last in (1, 2, 3)
    ]


def test_versions_are_chosen_by_number(store: ExampleStore) -> None:
    second = {(one.prompt, one.answer) for one in store.training(2, 2)}
    assert second
    assert second <= set(PAIRS[100:200])
    assert list(store.training(4, 9)) == []
    assert set(store.held_out(3, without=[2])) == set(store.held_out(3)) - {
        one for one in store.held_out(3) if (one.prompt, one.answer) in set(PAIRS[100:200])
    }


def test_a_replay_is_drawn_evenly_from_earlier_versions_and_again_by_its_seed(
    store: ExampleStore,
) -> None:
    older = set(store.training(1, 2))
    drawn = store.replay(before=3, count=50, seed=7)
    assert len(set(drawn)) == 50
    assert set(drawn) <= older
    assert drawn == store.replay(3, 50, 7)
    assert drawn != store.replay(3, 50, 8)
    assert set(store.replay(3, 10_000, 0)) == older
    assert store.replay(1, 10, 0) == ()
    times = Counter(one for seed in range(200) for one in store.replay(3, 40, seed))
    expected = 200 * 40 / len(older)  # 50
    assert set(times) == older
    assert max(times.values()) < 1.8 * expected


def test_the_golden_file_is_one_that_the_worker_reads_and_the_same_again(
    store: ExampleStore, tmp_path: Path
) -> None:
    path = tmp_path / "golden.jsonl"
    store.write_golden(path, last=3, count=10)
    items = parse_golden(path.read_text(), path.name)
    apart = {(one.prompt, one.answer): one for one in store.held_out(3)}
    assert len(items) == 10
    assert all((item.prompt, item.answer) in apart for item in items)
    before = path.read_bytes()
    store.write_golden(path, 3, 10)
    assert path.read_bytes() == before
    store.write_golden(path, 3, 10, chat=True)
    talks = parse_golden(path.read_text(), path.name)
    assert [item.answer for item in talks] == [item.answer for item in items]
    assert talks[0].prompt == ({"role": "user", "content": items[0].prompt},)
    assert [one.name for one in tmp_path.iterdir()] == ["golden.jsonl"]


def test_a_golden_file_without_any_that_fits_says_so_and_leaves_the_old_one(
    tmp_path: Path,
) -> None:
    store = ExampleStore(tmp_path / "store", held_out_share=0.999)
    take_in(write(tmp_path / "long.jsonl", [("word " * 200, "word " * 200)]), store, RULES)
    path = tmp_path / "golden.jsonl"
    path.write_text("old")
    with pytest.raises(StoreError, match="no held-out example of at most 1536 bytes"):
        store.write_golden(path, 1, 5)
    assert path.read_text() == "old"


def test_the_share_is_that_of_the_folder(store: ExampleStore) -> None:
    assert ExampleStore(store.folder, 0.2).versions() == store.versions()
    with pytest.raises(StoreError, match=r"held_out_share=0.3: .* was made with 0.2: give that"):
        ExampleStore(store.folder, 0.3)
    with pytest.raises(StoreError, match="held_out_share=1: give a share above 0 and below 1"):
        ExampleStore(store.folder, 1)


def test_one_writes_at_a_time(tmp_path: Path) -> None:
    store = ExampleStore(tmp_path / "store")
    with store.making(), pytest.raises(StoreBusyError, match="try again"):
        take_in(write(tmp_path / "a.jsonl", [("a", "b")]), store, RULES)
    take_in(tmp_path / "a.jsonl", store, RULES)
    assert list(store.training(1, 1)) == [Example("a", "b")]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("store.json", "{", "can't be read"),
        ("store.json", '{"format": 9}', "format=9: this version reads 1"),
        ("versions/000001/version.json", "[]", "is no JSON object"),
        ("versions/000001/version.json", "{}", "is no version's"),
        ("versions/000001/training.jsonl", '{"prompt": 1}\n', "line 1: is no example"),
    ],
)
def test_a_broken_folder_is_told_with_the_file(
    tmp_path: Path, name: str, content: str, words: str
) -> None:
    store = ExampleStore(tmp_path)
    take_in(write(tmp_path / "a.jsonl", [("a", "b")]), store, RULES)
    (tmp_path / name).write_text(content)
    with pytest.raises(StoreError) as problem:
        list(ExampleStore(tmp_path).training(1, 1))
    assert words in str(problem.value)
    assert str(tmp_path / name) in str(problem.value)


def test_versions_are_plain_json(store: ExampleStore) -> None:
    told = json.loads(json.dumps([one.as_dict() for one in store.versions()]))
    assert [one["number"] for one in told] == [1, 2, 3]
    assert {one["read"] for one in told} == {100}
