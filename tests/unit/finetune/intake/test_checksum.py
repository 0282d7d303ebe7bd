"""Checksums as `sha256sum` writes them, given or beside the file."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from autotuner.finetune.errors import RefusedFileError
from autotuner.finetune.intake.checksum import verified_sha256

CONTENT = b"some bytes\n"
RIGHT, WRONG = hashlib.sha256(CONTENT).hexdigest(), "0" * 64


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "new.jsonl"
    path.write_bytes(CONTENT)
    return path


def _beside(file: Path, text: str) -> None:
    file.with_name("new.jsonl.sha256").write_text(text)


def test_without_a_checksum_the_files_own_is_told_or_the_file_refused(file: Path) -> None:
    assert verified_sha256(file, None) == RIGHT
    with pytest.raises(RefusedFileError, match=r"has no checksum: write new\.jsonl\.sha256"):
        verified_sha256(file, None, required=True)


@pytest.mark.parametrize(
    "text",
    [
        f"{RIGHT}  new.jsonl\n",
        f"{RIGHT.upper()} *new.jsonl\n",
        f"{RIGHT}  /data/out/new.jsonl\n",
        f"{RIGHT}\n",
        f"{WRONG}  old.jsonl\n{RIGHT}  new.jsonl\n",
    ],
)
def test_every_form_that_names_the_file_is_read(file: Path, text: str) -> None:
    _beside(file, text)
    assert verified_sha256(file, None, required=True) == RIGHT


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (f"{WRONG}  new.jsonl\n", f"sha256={RIGHT}: the checksum says {WRONG}"),
        (f"{RIGHT}  old.jsonl\n", "has no line for new.jsonl"),
        ("", "has no line for new.jsonl"),
        ("abc  new.jsonl\n", "checksum='abc': give the 64 hexadecimal digits"),
        ("\x00\xff\n", "give the 64 hexadecimal digits"),
    ],
)
def test_a_checksum_that_does_not_fit_refuses_the_file(file: Path, text: str, words: str) -> None:
    _beside(file, text)
    with pytest.raises(RefusedFileError) as refused:
        verified_sha256(file, None)
    assert words in str(refused.value)


def test_what_is_given_goes_before_what_lies_beside(file: Path) -> None:
    _beside(file, f"{WRONG}  new.jsonl\n")
    assert verified_sha256(file, f" {RIGHT.upper()}\n") == RIGHT
    with pytest.raises(RefusedFileError, match="the checksum says"):
        verified_sha256(file, WRONG)
