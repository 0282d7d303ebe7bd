"""Text without what no tokenizer should see, in one Unicode normal form; its meaning stays.

White space is never stripped or collapsed. Cleaning twice changes nothing more.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from typing import Literal, get_args

NormalForm = Literal["none", "NFC", "NFKC"]
NORMAL_FORMS: tuple[NormalForm, ...] = get_args(NormalForm)
# Characters at a time: C code holds the interpreter's lock, and a slice takes it for about 1 ms.
SLICE_CHARS = 65536

# Controls that part words or lines become the white space that they stand for: without them two
# words would be one.
_WHITE_SPACE = dict.fromkeys("\v\f\x1c\x1d\x1e\x85", "\n") | {"\x1f": " "}
_UNWANTED = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")
# No normal form changes such a character or joins it with what stands before it (UAX #15).
_SAFE_CUT = re.compile("[ -~]")


def clean(text: str, form: NormalForm) -> str:
    r"""The text without control characters (save \n, \t, \r) and lone surrogates, normalised.

    Vertical tabs, form feeds, next-line and the separators U+001C to U+001E become a line feed,
    U+001F a space.
    """
    if len(text) <= SLICE_CHARS:
        return _clean(text, form)
    return "".join(_clean(part, form) for part in slices(text, SLICE_CHARS))


def slices(text: str, size: int) -> Iterator[str]:
    """Parts of at least `size` characters, cut where they can be normalised one by one."""
    first = 0
    while first < len(text):
        cut = _SAFE_CUT.search(text, first + size)
        last = len(text) if cut is None else cut.start()
        yield text[first:last]
        first = last


def _clean(text: str, form: NormalForm) -> str:
    # First the controls: one between a letter and its accent would keep them apart.
    text = _UNWANTED.sub(lambda match: _WHITE_SPACE.get(match[0], ""), text)
    if form == "none" or unicodedata.is_normalized(form, text):
        return text
    return unicodedata.normalize(form, text)
