"""From matplotlib's SVG to one that a page with a strict policy shows."""

from __future__ import annotations

from xml.etree import ElementTree

from autotuner.report.vector import inline_svg

DRAWN = """<?xml version="1.0"?>
<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"
 width="10pt" height="5pt" viewBox="0 0 10 5" version="1.1">
 <metadata><x>made by somebody</x></metadata>
 <defs><style type="text/css">*{stroke-linecap: butt}</style></defs>
 <g id="a"><clipPath id="c"><rect x="0" y="0" width="3" height="4"/></clipPath>
  <path d="M 0 0" clip-path="url(#c)" style="fill: none; stroke: #AA0000; stroke-width: 0.8"/>
  <use xlink:href="#a" style="fill: #00bb00; opacity: 0.5"/>
  <text style="font: 9px 'DejaVu Sans', sans-serif; text-anchor: middle">a &lt; b</text></g>
</svg>"""


def _made() -> ElementTree.Element:
    roles = {"#aa0000": "bad", "#00bb00": "good"}
    return ElementTree.fromstring(inline_svg(DRAWN, "p1", "what it shows", roles, "plot"))


def test_colours_become_classes_and_styles_attributes() -> None:
    path = _made().find(".//path")
    assert path is not None
    assert path.attrib == {
        "d": "M 0 0", "clip-path": "url(#p1-c)", "fill": "none", "class": "s-bad",
        "stroke-width": "0.8",
    }  # fmt: skip


def test_ids_are_the_pages_own_everywhere() -> None:
    made = _made()
    use, clip = made.find(".//use"), made.find(".//clipPath")
    assert use is not None
    assert clip is not None
    assert use.attrib == {"href": "#p1-a", "opacity": "0.5", "class": "f-good"}
    assert clip.attrib == {"id": "p1-c"}


def test_only_the_whole_loses_its_size() -> None:
    made = _made()
    rect = made.find(".//rect")
    assert rect is not None
    assert rect.attrib["width"] == "3"
    assert made.attrib == {
        "viewBox": "0 0 10 5", "role": "img", "aria-label": "what it shows", "class": "plot",
    }  # fmt: skip


def test_text_keeps_its_size_and_nothing_else_of_the_font() -> None:
    text = _made().find(".//text")
    assert text is not None
    assert text.text == "a < b"
    assert text.attrib == {"text-anchor": "middle", "font-size": "9px"}


def test_style_sheets_and_metadata_are_left_out() -> None:
    tags = {element.tag for element in _made().iter()}
    assert not tags & {"style", "metadata"}
