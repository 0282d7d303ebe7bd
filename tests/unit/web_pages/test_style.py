"""The style sheet: words can be read in both themes, and both ways to the dark one agree."""

from __future__ import annotations

import re
from importlib.resources import files

import pytest

_CSS = files("autotuner.web.pages").joinpath("static", "page.css").read_text(encoding="utf-8")
_INK = ("ink", "muted", "link", "good", "bad", "warn", "treatment")


def palettes() -> list[dict[str, str]]:
    """Light, dark by the system, dark by the switch."""
    blocks = [found for found in re.findall(r"\{([^{}]*)\}", _CSS) if "--paper:" in found]
    return [dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6})", block)) for block in blocks]


def luminance(colour: str) -> float:
    """WCAG 2.2, relative luminance."""
    parts = [int(colour[n : n + 2], 16) / 255 for n in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_both_ways_to_the_dark_theme_agree() -> None:
    light, system, switched = palettes()
    assert system == switched
    assert set(light) == set(system)


@pytest.mark.parametrize("ground", ["paper", "card", "panel"])
@pytest.mark.parametrize("ink", _INK)
@pytest.mark.parametrize("theme", [0, 1])
def test_words_have_a_contrast_of_4_5(theme: int, ink: str, ground: str) -> None:
    palette = palettes()[theme]
    assert contrast(palette[ink], palette[ground]) >= 4.5


@pytest.mark.parametrize("theme", [0, 1])
def test_words_on_buttons_have_a_contrast_of_4_5(theme: int) -> None:
    palette = palettes()[theme]
    for ground in ("link", "bad"):
        assert contrast(palette["on-button"], palette[ground]) >= 4.5
    assert contrast(palette["on-treatment"], palette["treatment"]) >= 4.5
    assert contrast(palette["on-control"], palette["bar-control"]) >= 4.5


def test_every_class_that_a_page_uses_has_a_rule_or_a_reason() -> None:
    """A class without a rule is a word misspelt; those of the report's drawings have theirs."""
    without = {"plot", "always", "inline"}
    templates = files("autotuner.web.pages").joinpath("templates").iterdir()
    used = {
        name
        for template in templates
        for text in re.findall(r'class="([^"{]*)"', template.read_text(encoding="utf-8"))
        for name in text.split()
    }
    ruled = set(re.findall(r"\.([a-z][a-z-]*)", _CSS))
    assert used - ruled - without == set()
