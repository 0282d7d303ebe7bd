"""What a line may be; everything else is refused with its place, the value and the fix."""

from __future__ import annotations

import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotuner.finetune.errors import RefusedFileError
from autotuner.finetune.examples import Example
from autotuner.finetune.intake.lines import examples_in, parse_example

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(st.binary(max_size=80) | JSON.map(lambda value: json.dumps(value).encode()))
def test_any_bytes_are_an_example_or_refused_and_nothing_else_happens(line: bytes) -> None:
    found: Example | str
    try:
        found = parse_example(line, "a, line 1")
    except RefusedFileError as refusal:
        found = str(refusal)
    assert isinstance(found, Example) or found.startswith("a, line 1: ")
    assert isinstance(found, Example) or len(found) < 500


@given(TEXT, TEXT, st.none() | st.floats(0, 1), st.booleans())
def test_every_good_line_is_read_as_it_was_written(
    prompt: str, answer: str, score: float | None, ascii_only: bool
) -> None:
    raw = {"prompt": prompt, "answer": answer, "score": score}
    line = json.dumps(raw, ensure_ascii=ascii_only).encode()
    assert parse_example(line, "a") == Example(prompt, answer, score)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b'{"prompt": "a"}', "answer: missing"),
        (b'{"prompt": 3, "answer": "b"}', "prompt=3: give a text"),
        (b'{"prompt": "a", "answer": "b", "score": 1.5}', "score=1.5: give a number from 0 to 1"),
        (b'{"prompt": "a", "answer": "b", "score": true}', "score=True"),
        (b'{"prompt": "a", "answer": "b", "score": NaN}', "NaN is no JSON number"),
        (b'{"prompt": "a", "answer": "b", "scroe": 1}', "scroe=1: unknown field"),
        (b'{"prompt": "a", "prompt": "c", "answer": "b"}', "a field stands twice"),
        (b'["a", "b"]', "example=['a', 'b']: give an object"),
        (b'{"prompt": "a", ', "not JSON"),
        (b'{"prompt": "a\x00", "answer": "b"}', "NUL"),
        (b'{"prompt": "\xe2\x82', "is not UTF-8 (byte 13"),
        (b'{"prompt": ' + b"[" * 100_000, "nested too deeply"),
        (b'{"prompt": ' + b"9" * 10_000 + b"}", "not JSON"),
    ],
)
def test_a_bad_line_names_what_is_wrong(line: bytes, words: str) -> None:
    with pytest.raises(RefusedFileError) as refused:
        parse_example(line, "new.jsonl, line 7")
    assert str(refused.value).startswith("new.jsonl, line 7: ")
    assert words in str(refused.value)


def test_lines_are_counted_with_empty_ones_and_a_mark_of_byte_order_is_no_fault() -> None:
    good = b'{"prompt": "a", "answer": "b"}'
    file = io.BytesIO(b"\xef\xbb\xbf" + good + b"\r\n\n  \n" + good)
    assert list(examples_in(file, "f", 100)) == [Example("a", "b")] * 2
    with pytest.raises(RefusedFileError, match="f, line 3: not JSON"):
        list(examples_in(io.BytesIO(good + b"\n\nx"), "f", 100))


def test_a_line_as_long_as_allowed_is_read_and_a_longer_one_is_not_even_held() -> None:
    line = b'{"prompt": "a", "answer": "b"}'
    for end in (b"", b"\n", b"\r\n"):
        assert list(examples_in(io.BytesIO(line + end), "f", len(line))) == [Example("a", "b")]
    for end in (b"", b"\n"):
        with pytest.raises(RefusedFileError, match="line 1: is longer than 29 bytes"):
            list(examples_in(io.BytesIO(line + end), "f", len(line) - 1))
    asked: list[int] = []

    class Endless:
        def readline(self, size: int, /) -> bytes:
            asked.append(size)
            return b"x" * size

    with pytest.raises(RefusedFileError, match="is longer"):
        list(examples_in(Endless(), "f", 1000))
    assert asked == [1002]
