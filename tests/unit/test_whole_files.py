"""A file is there whole or as it was, with the mode that was asked for."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from autotuner.whole_files import publish_folder, whole_file, write_whole


@pytest.fixture
def umask() -> Iterator[None]:
    before = os.umask(0o027)
    yield
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_text_and_bytes_replace_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    write_whole(path, "é\n")
    assert path.read_bytes() == b"\xc3\xa9\n"
    write_whole(path, b"\xff")
    assert path.read_bytes() == b"\xff"
    assert list(tmp_path.iterdir()) == [path]


def test_after_an_error_it_is_as_it_was_and_nothing_is_left(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(TypeError), whole_file(path) as file:
        file.writelines([b"new", None])  # type: ignore[list-item]
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.usefixtures("umask")
def test_the_mode_is_the_one_asked_for_or_the_umasks(tmp_path: Path) -> None:
    path = tmp_path / "file"
    for asked, found in ((None, 0o640), (0o600, 0o600), (0o644, 0o644)):
        write_whole(path, b"", asked)
        assert mode(path) == found


def test_no_reader_sees_a_secret_before_its_mode(tmp_path: Path) -> None:
    with whole_file(tmp_path / "file", 0o600) as file:
        file.write(b"secret")
        (fresh,) = tmp_path.iterdir()
        assert mode(fresh) == 0o600


def test_a_folder_is_not_put_over_one_with_files(tmp_path: Path) -> None:
    made, place = tmp_path / "made", tmp_path / "place"
    for folder in (made, place):
        folder.mkdir()
        (folder / "file").write_text(folder.name)
    with pytest.raises(OSError, match="not empty"):
        publish_folder(made, place)
    assert (place / "file").read_text() == "place"
    (place / "file").unlink()
    place.rmdir()
    publish_folder(made, place)
    assert (place / "file").read_text() == "made"
    assert not made.exists()
