"""The files of a report for every kind of experiment: a page that stands alone and is readable."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from autotuner.domain.experiment import Experiment, Verdict
from autotuner.domain.knobs import Settings
from autotuner.report.data import report_data
from autotuner.report.page import content_policy
from autotuner.report.write import write_report
from tests.unit.report.report_examples import (
    BEGAN,
    EXAMPLES,
    Service,
    accepted,
    drawn,
    ended,
    excluding,
)

VOID = {"meta", "br", "hr", "img", "link", "input"}
HOSTILE = "</title><script>alert('x')</script>\"&<img src=//x onerror=y> $x_{$ \x1b漢"


@dataclass
class Reader(HTMLParser):
    """What a page holds: tags with their attributes, text, and whether it is well nested."""

    tags: list[tuple[str, dict[str, str | None]]] = field(default_factory=list)
    text: list[str] = field(default_factory=list)
    opened: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(convert_charrefs=True)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.opened.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.opened.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)

    def count(self, tag: str) -> int:
        return sum(name == tag for name, _ in self.tags)


def read(path: Path) -> Reader:
    reader = Reader()
    reader.feed(path.read_text(encoding="utf-8"))
    reader.close()
    assert reader.opened == []
    return reader


@pytest.mark.parametrize("build", EXAMPLES.values(), ids=EXAMPLES)
def test_every_kind_gives_three_sound_files(
    build: Callable[[], Experiment], tmp_path: Path
) -> None:
    test = build()
    ended_at = None if test.running else BEGAN + 1300
    html, picture, data = write_report(test, tmp_path / "deep" / "folder", ended_at)
    assert [p.name for p in (html, picture, data)] == ["index.html", "figure.png", "report.json"]
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert json.loads(data.read_text(encoding="utf-8")) == report_data(test, ended_at)
    page = read(html)
    _stands_alone(page)
    _is_accessible(page)
    headline = report_data(test, ended_at)["words"]["headline"]
    assert headline in page.text


def _stands_alone(page: Reader) -> None:
    """Nothing is fetched, nothing runs, no inline style that a strict policy forbids."""
    assert not {"script", "img", "link", "iframe", "object", "image"} & {t for t, _ in page.tags}
    for tag, attributes in page.tags:
        assert "style" not in attributes
        assert not [name for name in attributes if name.startswith("on") or name == "src"]
        if tag != "a" and "href" in attributes:
            assert str(attributes["href"]).startswith("#")
        for value in attributes.values():
            assert "url(" not in str(value) or re.fullmatch(r"url\(#[\w-]+\)", str(value))


def _is_accessible(page: Reader) -> None:
    assert ("html", {"lang": "en"}) in page.tags
    assert page.count("h1") == page.count("main") == page.count("title") == 1
    assert page.count("table") == page.count("caption")
    assert all(a.get("scope") in ("col", "row") for tag, a in page.tags if tag == "th")
    drawings = [a for tag, a in page.tags if tag == "svg"]
    assert len(drawings) == 10  # five panels, each for wide and for narrow screens
    assert all(a.get("role") == "img" and a.get("aria-label") for a in drawings)
    ids = Counter(a["id"] for _, a in page.tags if "id" in a)
    assert max(ids.values()) == 1
    used = {
        ref for _, a in page.tags for v in a.values() for ref in re.findall(r"#([\w-]+)", v or "")
    }
    assert {ref for ref in used if ref.split("-")[0] in _PANELS} <= set(ids)


_PANELS = {"slots", "differences", "confidence", "guardrails", "power"}


def test_what_people_wrote_never_becomes_markup(tmp_path: Path) -> None:
    settings = Settings({"attention": HOSTILE}), Settings({"attention": "full"})
    test = excluding(drawn(3, Service(0.7), Service(0.8)), 2, HOSTILE)
    test = replace(
        test, target=HOSTILE, proposer=HOSTILE, rationale=HOSTILE, id=HOSTILE,
        control=settings[0], treatment=settings[1],
    )  # fmt: skip
    html, *_ = write_report(ended(test, Verdict.ABORTED, HOSTILE), tmp_path, BEGAN + 60)
    page = read(html)
    _stands_alone(page)
    _is_accessible(page)
    assert HOSTILE in page.text  # the reason as recorded, to the letter


def test_the_policy_of_the_page_allows_its_own_style_alone(tmp_path: Path) -> None:
    html, *_ = write_report(accepted(), tmp_path, BEGAN + 60)
    policies = [
        a["content"]
        for tag, a in read(html).tags
        if tag == "meta" and a.get("http-equiv") == "Content-Security-Policy"
    ]
    assert policies == [content_policy()]
    assert content_policy().startswith("default-src 'none'; style-src 'sha256-")


def test_a_second_report_takes_the_place_of_the_first(tmp_path: Path) -> None:
    write_report(EXAMPLES["running"](), tmp_path)
    html, _, data = write_report(accepted(), tmp_path, BEGAN + 60)
    assert "Still running" not in html.read_text(encoding="utf-8")
    assert json.loads(data.read_text(encoding="utf-8"))["running"] is False


def test_the_same_experiment_gives_the_same_page(tmp_path: Path) -> None:
    first, *_ = write_report(accepted(), tmp_path / "a", BEGAN + 60)
    second, *_ = write_report(accepted(), tmp_path / "b", BEGAN + 60)
    assert first.read_bytes() == second.read_bytes()
