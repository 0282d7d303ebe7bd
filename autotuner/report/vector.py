"""From matplotlib's SVG to one that lives inside a page: themed by its style sheet, CSP-safe.

Colours become class names and every `style` attribute becomes plain attributes, so that a page
whose policy forbids inline styles shows it, and the same drawing serves light and dark.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

_ID_REFERENCE = re.compile(r"url\(#|^#")
_FONT_SIZE = re.compile(r"([\d.]+)px")
_DROPPED_TAGS = {"metadata", "style"}
_DROPPED_ATTRIBUTES = {"font", "font-family", "style"}
_DROPPED_FROM_ROOT = ("version", "width", "height")  # the view box and the page size it


def inline_svg(svg: str, name: str, label: str, roles: Mapping[str, str], kind: str) -> str:
    """`svg` as markup for a page.

    `name` is unique in the page: it goes before every id. `label` is told to those who can't see
    it; `kind` is the class of the whole.
    `roles`: class name by colour (#rrggbb); a fill of role r gets class `f-r`, a stroke `s-r`.
    """
    root = ElementTree.fromstring(svg)  # noqa: S314 - matplotlib wrote it just now
    for element in root.iter():
        _mend(element, name, roles)
        for child in [c for c in element if _bare(c.tag) in _DROPPED_TAGS]:
            element.remove(child)
    for key in _DROPPED_FROM_ROOT:
        root.attrib.pop(key, None)
    root.set("role", "img")
    root.set("aria-label", label)
    root.set("class", kind)
    return ElementTree.tostring(root, encoding="unicode")


def _mend(element: Element, name: str, roles: Mapping[str, str]) -> None:
    attributes = {_bare(key): value for key, value in element.attrib.items()}
    attributes |= _declarations(attributes.get("style", ""))
    classes = []
    for key, prefix in (("fill", "f"), ("stroke", "s")):
        role = roles.get(attributes.get(key, "").lower())
        if role is not None:
            del attributes[key]
            classes.append(f"{prefix}-{role}")
    if classes:
        attributes["class"] = " ".join(classes)
    element.tag = _bare(element.tag)
    element.attrib.clear()
    for key, value in attributes.items():
        if key not in _DROPPED_ATTRIBUTES:
            element.set(key, _prefixed(key, value, name))


def _declarations(style: str) -> dict[str, str]:
    """The style's parts as attributes; the font shorthand keeps its size alone."""
    pairs = (part.split(":", 1) for part in style.split(";") if ":" in part)
    found = {key.strip(): value.strip() for key, value in pairs}
    size = _FONT_SIZE.search(found.get("font", ""))
    if size is not None:
        found["font-size"] = f"{size.group(1)}px"
    return found


def _prefixed(key: str, value: str, name: str) -> str:
    if key == "id":
        return f"{name}-{value}"
    return _ID_REFERENCE.sub(lambda found: f"{found.group(0)}{name}-", value)


def _bare(tagged: str) -> str:
    return tagged.rsplit("}", 1)[-1]
