"""Reads a page as a browser's parser does and says what is wrong with it."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser
from itertools import pairwise

_VOID = {"meta", "link", "input", "br", "img", "hr"}
_INLINE = {"a", "time", "code", "strong"}
_OUTSIDE = ("http:", "https:", "//", "data:", "javascript:")


@dataclass
class Element:
    tag: str
    attributes: dict[str, str]
    text: str = ""
    inside: tuple[str, ...] = ()


@dataclass
class _Reader(HTMLParser):
    elements: list[Element] = field(default_factory=list)
    stack: list[Element] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(convert_charrefs=True)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attrs]
        if len(names) != len(set(names)):
            self.faults.append(f"<{tag}> repeats an attribute: {names}")
        found = {name: value or "" for name, value in attrs}
        one = Element(tag, found, inside=tuple(open_.tag for open_ in self.stack))
        self.elements.append(one)
        if tag not in _VOID:
            self.stack.append(one)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in _VOID:
            self.stack.pop()

    def handle_endtag(self, tag: str) -> None:
        if not self.stack or self.stack[-1].tag != tag:
            open_ = self.stack[-1].tag if self.stack else "nothing"
            self.faults.append(f"</{tag}> closes <{open_}>")
            return
        self.stack.pop()
        if tag not in _INLINE:
            self.handle_data(" ")

    def handle_data(self, data: str) -> None:
        for one in self.stack:
            one.text += data


@dataclass(frozen=True)
class Read:
    """A page's elements in order, and its words."""

    elements: tuple[Element, ...]
    faults: tuple[str, ...]

    def all(self, tag: str) -> list[Element]:
        return [one for one in self.elements if one.tag == tag]

    @property
    def words(self) -> str:
        return " ".join(self.all("body")[0].text.split())


def read(text: str) -> Read:
    reader = _Reader()
    reader.feed(text)
    reader.close()
    faults = [*reader.faults, *(f"<{one.tag}> is never closed" for one in reader.stack)]
    return Read(tuple(reader.elements), tuple(faults))


def faults(text: str) -> list[str]:
    """All that is wrong: markup, ids, headings, labels, and whatever the policy would refuse."""
    page = read(text)
    ids = [one.attributes["id"] for one in page.elements if "id" in one.attributes]
    found = list(page.faults)
    found += [f"id {one!r} twice" for one in {i for i in ids if ids.count(i) > 1}]
    found += [f"id {one!r} has a space" for one in ids if " " in one]
    found += _headings(page) + _names(page, set(ids)) + _policy(page)
    return found


def _headings(page: Read) -> list[str]:
    levels = [int(one.tag[1]) for one in page.elements if one.tag in ("h1", "h2", "h3", "h4")]
    found = [] if levels.count(1) == 1 else [f"{levels.count(1)} h1"]
    steps = pairwise(levels)
    return found + [f"h{a} is followed by h{b}" for a, b in steps if b > a + 1]


def _names(page: Read, ids: set[str]) -> list[str]:
    """Whatever can be used or is drawn has a name; tables have headings."""
    found = [
        f"<svg> without a name: {one.attributes}"
        for one in page.all("svg")
        if not one.attributes.get("aria-label")
    ]
    for one in page.all("input") + page.all("select"):
        hidden = one.attributes.get("type") == "hidden"
        if not hidden and "label" not in one.inside:
            found.append(f"<{one.tag}> without a label: {one.attributes}")
    found += [
        f"<{o.tag}> without words" for o in page.all("a") + page.all("button") if not o.text.strip()
    ]
    found += [
        f"<th> without scope: {o.text}" for o in page.all("th") if "scope" not in o.attributes
    ]
    for one in page.elements:
        named = one.attributes.get("aria-labelledby")
        if named is not None and named not in ids:
            found.append(f"{named!r} names nothing")
    return found


def _policy(page: Read) -> list[str]:
    found = []
    for one in page.elements:
        inline = [name for name in one.attributes if name.startswith("on") or name == "style"]
        found += [f"<{one.tag} {name}> is inline" for name in inline]
        if one.tag == "style" or (one.tag == "script" and "src" not in one.attributes):
            found.append(f"<{one.tag}> is inline")
        for name in ("href", "src", "action", "xlink:href"):
            if one.attributes.get(name, "").lower().startswith(_OUTSIDE):
                found.append(f"<{one.tag}> leads outside: {one.attributes[name]}")
    return found
