"""The pages that are made from the code are up to date, and the documents' links lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from deploy import reference

DOCS = Path(__file__).parents[2] / "docs"
PAGES = sorted([*DOCS.glob("*.md"), *(DOCS / "reference").glob("*.md"), DOCS.parent / "README.md"])
LINK = re.compile(r"\]\(([^)#:]+)(#[^)]*)?\)")
FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)


def test_the_reference_is_what_the_code_says() -> None:
    kept = {path.name: path.read_text("utf-8") for path in reference.FOLDER.glob("*.md")}
    assert kept == reference.files(), "run: python -m deploy.reference"


def test_every_metric_of_the_daemon_is_explained() -> None:
    """metrics.md says what each is looked at for; the reference has types and labels."""
    page = (DOCS / "metrics.md").read_text(encoding="utf-8")
    unexplained = [name for name in reference.own_metric_names() if f"`{name}`" not in page]
    assert not unexplained
    named = re.findall(r"`(autotuner_\w+)`", page)
    assert set(named) <= set(reference.own_metric_names())


def test_every_option_and_argument_has_help() -> None:
    silent = [
        f"{words} {one.name}"
        for words, command in reference.commands()
        for one in command.params
        if not one.help and one.name != "help"
    ]
    assert not silent


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    broken = [to for to, _ in LINK.findall(text) if not (page.parent / to).exists()]
    assert not broken
