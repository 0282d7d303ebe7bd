"""Building blocks of HTML. `Html` is markup; every other text is escaped on its way in."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape


@dataclass(frozen=True)
class Html:
    """Markup that is safe to show as it is."""

    text: str


Content = str | Html


@dataclass(frozen=True)
class Column:
    """A heading; figures stand right-aligned."""

    title: str
    number: bool = False


def shown(content: Content) -> str:
    """Markup as it is; anything else escaped."""
    return content.text if isinstance(content, Html) else escape(content, quote=True)


def joined(parts: Iterable[Html]) -> Html:
    return Html("\n".join(part.text for part in parts))


def element(tag: str, *content: Content, **attributes: str) -> Html:
    """`<tag …>content</tag>`; an attribute's `_` before or between words becomes `-`."""
    told = "".join(
        f' {name.strip("_").replace("_", "-")}="{escape(value, quote=True)}"'
        for name, value in attributes.items()
    )
    return Html(f"<{tag}{told}>{''.join(shown(one) for one in content)}</{tag}>")


def table(
    caption: str, columns: Sequence[Column], rows: Iterable[Sequence[Content]], empty: str
) -> Html:
    """A table whose first column names its rows; `empty` is said in place of one without rows.

    It stands in a region of its own that scrolls sideways on a narrow screen.
    """
    body = [_row(columns, row) for row in rows]
    if not body:
        return element("p", empty, _class="empty")
    head = joined(
        element("th", column.title, scope="col", **_aligned(column)) for column in columns
    )
    inside = element(
        "table",
        element("caption", caption),
        element("thead", element("tr", head)),
        element("tbody", joined(body)),
    )
    return element("div", inside, _class="wide", role="region", tabindex="0", aria_label=caption)


def _row(columns: Sequence[Column], cells: Sequence[Content]) -> Html:
    first = element("th", cells[0], scope="row", **_aligned(columns[0]))
    rest = (
        element("td", cell, **_aligned(column))
        for column, cell in zip(columns[1:], cells[1:], strict=True)
    )
    return element("tr", first, *rest)


def _aligned(column: Column) -> dict[str, str]:
    return {"_class": "n"} if column.number else {}
