"""Pictures of every view: `python -m tests.integration.web_pages.screenshots OUT`."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Mapping
from itertools import product
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser

from autotuner.web.guard import Guard
from tests.integration.web_pages.browser import chromium, served
from tests.unit.web.house import tokens_in
from tests.unit.web_pages.filled import NOW, filled, sources

VIEWS = {
    "fleet": "/",
    "target": "/targets/chat",
    "experiment": "/experiments/exp-000123",
    "experiments": "/experiments",
    "alerts": "/alerts",
    "agent": "/agent",
    "learning": "/learning",
    "confirm": "/targets/chat/stop",
}
WIDTHS = {"desktop": 1280, "phone": 390}
_TALLEST_PX = 2000  # chosen: what a reader of the docs scrolls through
_COLOURS = 64


def main(out: Path) -> None:
    """Writes VIEW-WIDTH-THEME.png for all of them."""
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        history = filled(Path(folder), odd="summaries", wrote="connection refused")
        guarded, _ = tokens_in(Path(folder))
        with chromium() as browser:
            for guard, views in ((Guard(), VIEWS), (guarded, {"login": "/login"})):
                with served(sources(history), guard, lambda: NOW) as url:
                    for theme, width in product(("light", "dark"), WIDTHS):
                        _shoot(browser, url, out, views, theme, width)
        history.close()


def _shoot(
    browser: Browser, url: str, out: Path, views: Mapping[str, str], theme: str, width: str
) -> None:
    context = browser.new_context(
        viewport={"width": WIDTHS[width], "height": 900},
        color_scheme="dark" if theme == "dark" else "light",
        timezone_id="UTC",
    )
    page = context.new_page()
    for view, path in views.items():
        page.goto(url + path, wait_until="load")
        target = out / f"{view}-{width}-{theme}.png"
        page.screenshot(path=target, full_page=True)
        _shrink(target)
    context.close()


def _shrink(path: Path) -> None:
    """Cut to what is looked at, in a palette: a third of the size."""
    with Image.open(path) as whole:
        picture = whole.convert("RGB").crop((0, 0, whole.width, min(whole.height, _TALLEST_PX)))
    picture.quantize(_COLOURS, kmeans=2).save(path, optimize=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
