import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotuner.worker.pipeline.clean import NORMAL_FORMS, NormalForm, clean, slices
from autotuner.worker.pipeline.clean import _clean as clean_in_one_piece

FORMS = st.sampled_from(NORMAL_FORMS)
# Surrogates, controls, letters that compose, and letters that decompose.
LETTERS = st.one_of(
    st.characters(),
    st.characters(categories=["Cc", "Cs", "Mn"]),
    st.sampled_from("eEoA\u0301\u0308\u1100\u1161\u11a8ﬁ²Å ~\x00\x0b\x85"),
)
TEXTS = st.text(LETTERS, max_size=60)


def is_clean(text: str) -> bool:
    return not any(unicodedata.category(c) in ("Cc", "Cs") and c not in "\n\t\r" for c in text)


@given(TEXTS, FORMS)
def test_the_result_is_clean_normal_and_stays_as_it_is(text: str, form: NormalForm) -> None:
    once = clean(text, form)
    assert is_clean(once)
    assert form == "none" or unicodedata.is_normalized(form, once)
    assert clean(once, form) == once


@given(st.text(st.characters(exclude_categories=["Cc", "Cs"]) | st.sampled_from("\n\t\r")))
def test_clean_text_is_never_changed(text: str) -> None:
    assert clean(text, "none") == text
    normal = unicodedata.normalize("NFC", text)
    assert clean(normal, "NFC") == normal


@given(TEXTS, FORMS)
def test_words_stay_apart(text: str, form: NormalForm) -> None:
    """White space that is taken away would make two words one."""
    kept = clean(text, "none")
    printable = "".join(c for c in text if c.isspace() or is_clean(c))
    assert kept.split() == printable.split()
    assert sum(c.isspace() for c in kept) == sum(c.isspace() for c in text)
    assert len(clean(text, form).split()) >= len(kept.split())


@pytest.mark.parametrize(
    ("dirty", "expected"),
    [
        ("a\x00b\x7fc\x9fd", "abcd"),
        (" a\n\n\tb\r\n  ", " a\n\n\tb\r\n  "),
        ("page\x0cpage\x0bline\x85line\x1fword", "page\npage\nline\nline word"),
        ("half \ud83d of a face", "half  of a face"),
        ("whole 😀 and family 👨\u200d👩\u200d👧", "whole 😀 and family 👨\u200d👩\u200d👧"),
        ("cafe\u0301", "café"),
        ("e\x00\u0301", "é"),
    ],
)
def test_examples(dirty: str, expected: str) -> None:
    assert clean(dirty, "NFC") == expected


def test_only_the_compatibility_form_changes_what_letters_look_like() -> None:
    assert clean("ﬁ² ｜", "NFC") == "ﬁ² ｜"
    assert clean("ﬁ² ｜", "NFKC") == "fi2 |"
    assert clean("e\u0301", "none") == "e\u0301"


@given(TEXTS, FORMS, st.integers(1, 5))
def test_slices_are_cleaned_as_the_whole(text: str, form: NormalForm, size: int) -> None:
    parts = list(slices(text, size))
    assert "".join(parts) == text
    assert all(len(part) >= size for part in parts[:-1])
    assert "".join(clean_in_one_piece(part, form) for part in parts) == clean(text, form)


def test_a_long_text_is_cleaned_slice_by_slice() -> None:
    assert clean("word e\u0301\x00 " * 20_000, "NFC") == "word é " * 20_000
