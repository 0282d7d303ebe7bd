"""The one place where text becomes markup that is shown as it is."""

from __future__ import annotations

from markupsafe import Markup


def trusted(text: str) -> Markup:
    """`text` as markup. Only for what was drawn here: numbers, and words that were escaped."""
    return Markup(text)  # noqa: S704
