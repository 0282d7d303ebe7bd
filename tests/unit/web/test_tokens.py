"""The file of tokens: what is kept, what is refused, and that a change is heeded at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from autotuner.domain.errors import ConfigError
from autotuner.web.tokens import (
    Role,
    TokenBook,
    digest_of,
    new_token,
    parse_tokens,
    read_tokens,
    write_tokens,
)

HASH = "0" * 64


def test_a_token_is_known_by_its_hash_alone(tmp_path: Path) -> None:
    token, entry = new_token("ana", Role.OPERATOR)
    path = tmp_path / "tokens"
    write_tokens(path, (entry,))
    assert token not in path.read_text()
    assert path.stat().st_mode & 0o777 == 0o600
    book = TokenBook(path)
    assert book.of(token) == entry
    assert book.of(token + "x") is None
    assert book.of("") is None
    assert book.of("\udcff") is None


def test_two_tokens_differ_and_are_long() -> None:
    first, second = new_token("a", Role.VIEWER)[0], new_token("a", Role.VIEWER)[0]
    assert first != second
    assert len(first) >= 43
    assert first.startswith("att_")


def test_comments_and_blank_lines_pass() -> None:
    [entry] = parse_tokens(f"# who\n\n  vic viewer sha256:{HASH}\n", "f")
    assert (entry.name, entry.role) == ("vic", Role.VIEWER)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (f"vic admin sha256:{HASH}", "line 1"),
        (f"vic viewer {HASH}", "line 1"),
        (f"ok viewer sha256:{HASH}\nvic viewer sha256:abc", "line 2"),
        (f"vic viewer sha256:{HASH} more", "line 1"),
        (f"../x viewer sha256:{HASH}", "line 1"),
        (f"vic viewer sha256:{HASH}\nvic operator sha256:{HASH}", "two tokens are named 'vic'"),
    ],
)
def test_a_bad_file_is_refused_and_its_hashes_not_told(text: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem) as raised:
        parse_tokens(text, "f")
    assert HASH not in str(raised.value)


def test_a_file_that_others_may_write_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "tokens"
    write_tokens(path, (new_token("a", Role.VIEWER)[1],))
    path.chmod(0o620)
    with pytest.raises(ConfigError, match="chmod go-w"):
        read_tokens(path)


def test_no_file_and_no_token_are_refused_with_the_fix(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="autotuner token new"):
        TokenBook(tmp_path / "none")
    (tmp_path / "empty").write_text("# nobody\n")
    with pytest.raises(ConfigError, match="autotuner token new"):
        TokenBook(tmp_path / "empty")


def test_a_change_of_the_file_is_heeded_at_once(tmp_path: Path) -> None:
    path = tmp_path / "tokens"
    old, old_entry = new_token("old", Role.VIEWER)
    new, new_entry = new_token("new", Role.VIEWER)
    write_tokens(path, (old_entry,))
    book = TokenBook(path)
    write_tokens(path, (new_entry,))
    assert book.of(old) is None
    assert book.of(new) == new_entry


def test_a_file_that_broke_lets_nobody_in_until_it_is_mended(tmp_path: Path) -> None:
    path = tmp_path / "tokens"
    token, entry = new_token("ana", Role.OPERATOR)
    write_tokens(path, (entry,))
    book = TokenBook(path)
    path.write_text("rubbish\n")
    assert book.of(token) is None
    path.unlink()
    assert book.of(token) is None
    write_tokens(path, (entry,))
    assert book.of(token) == entry


def test_the_hash_is_sha256() -> None:
    assert digest_of("abc").startswith("ba7816bf")  # FIPS 180-2, appendix B.1
