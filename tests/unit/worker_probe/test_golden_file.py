"""A golden file that is replaced while probes go on: taken up when good, and told when not."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from autotuner.worker.probe.assembly import read_golden
from autotuner.worker.probe.golden import GoldenError, GoldenItem
from autotuner.worker.probe.golden_file import GoldenFile
from autotuner.worker.probe.golden_source import GoldenSet
from autotuner.worker.probe.tokenise import GoldenAnswer

TOO_LONG = "ä"  # what the float32 model can't answer


@dataclass(frozen=True)
class Source:
    """A set that is made when it is asked for."""

    items: Sequence[GoldenItem]

    async def current(self) -> GoldenSet:
        prompts = [str(item.prompt) for item in self.items]
        if TOO_LONG in prompts:
            raise GoldenError("the golden set can't be made: too long")
        answers = [GoldenAnswer(tuple(map(ord, p)), (1,), (-0.5,), None, 8) for p in prompts]
        return GoldenSet("+".join(prompts), tuple(answers))


@dataclass
class Shelf:
    """A golden file, and how often it was read."""

    folder: Path
    reads: int = 0

    @property
    def file(self) -> Path:
        return self.folder / "golden.jsonl"

    def write(self, *prompts: str) -> None:
        """Whole under another name first, as a careful writer does."""
        new = self.folder / "new"
        new.write_text("".join(f'{{"prompt": "{prompt}"}}\n' for prompt in prompts))
        new.replace(self.file)

    def read(self, file: Path) -> Source:
        self.reads += 1
        return Source(read_golden(file))


def prompts_of(golden: GoldenSet) -> list[str]:
    return ["".join(map(chr, answer.prompt)) for answer in golden.answers]


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    made = Shelf(tmp_path)
    made.write("a")
    return made


def test_a_replaced_file_is_taken_up_at_the_next_probe(shelf: Shelf) -> None:
    golden = GoldenFile(shelf.file, shelf.read)
    first = asyncio.run(golden.current())
    shelf.write("b", "c")
    second = asyncio.run(golden.current())
    assert (prompts_of(first), prompts_of(second)) == (["a"], ["b", "c"])
    assert first.name != second.name
    shelf.write("a")
    assert asyncio.run(golden.current()).name == first.name  # the same items, the same name


def test_a_file_that_is_as_it_was_is_not_read_again(shelf: Shelf) -> None:
    golden = GoldenFile(shelf.file, shelf.read)
    for _ in range(3):
        asyncio.run(golden.current())
    assert shelf.reads == 1


@pytest.mark.parametrize(
    ("bad", "told"),
    [
        (b'{"prompt": "b"}\n{"prompt": 3}\n', "line 2: prompt=3"),
        (b"\xff\xfe", "give a readable JSONL file"),
        (b"", "no items"),
        ('{"prompt": "\u00e4"}'.encode(), "the golden set can't be made"),
    ],
)
def test_a_bad_file_keeps_the_old_items_until_it_is_mended(
    shelf: Shelf, bad: bytes, told: str
) -> None:
    golden = GoldenFile(shelf.file, shelf.read)
    shelf.file.write_bytes(bad)
    kept = asyncio.run(golden.current())
    assert prompts_of(kept) == ["a"]
    assert told in (kept.problem or "")
    reads = shelf.reads
    assert asyncio.run(golden.current()) == kept  # told again, but not tried again
    assert shelf.reads == reads
    shelf.write("d")
    mended = asyncio.run(golden.current())
    assert (prompts_of(mended), mended.problem) == (["d"], None)


def test_a_file_that_goes_away_keeps_its_items(shelf: Shelf) -> None:
    golden = GoldenFile(shelf.file, shelf.read)
    shelf.file.unlink()
    kept = asyncio.run(golden.current())
    assert prompts_of(kept) == ["a"]
    assert "No such file" in (kept.problem or "")


def test_a_file_that_is_bad_from_the_start_is_an_error(shelf: Shelf) -> None:
    shelf.file.write_text("{")
    with pytest.raises(GoldenError, match="line 1: not JSON"):
        GoldenFile(shelf.file, shelf.read)
