"""The pages in Chromium: what a person sees and does, with scripts and without."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

pytest.importorskip("playwright", reason="pip install playwright (in the extra dev)")
from playwright.sync_api import Browser, BrowserContext, Dialog, Page, expect

from autotuner.domain.mode import Mode
from autotuner.history.store import History
from autotuner.web.guard import Guard
from autotuner.web.sources import Sources
from tests.integration.daemon.loop import Loop, make_loop
from tests.integration.web_pages.browser import CHROMIUM, Watched, chromium, served
from tests.unit.web_pages.filled import NOW, ODD_NAME, filled, sources

pytestmark = [
    pytest.mark.process,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: apt-get install chromium"),
]
VIEWS = (
    "/",
    "/targets/chat",
    f"/targets/{ODD_NAME}",
    "/experiments",
    "/experiments/exp-000101",
    "/experiments/exp-000123",
    "/alerts",
    "/agent",
    "/learning",
    "/targets/chat/rollback",
    "/targets/nobody",
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> Iterator[History]:
    found = filled(tmp_path_factory.mktemp("filled"))
    yield found
    found.close()


@pytest.fixture(scope="module")
def base(history: History) -> Iterator[str]:
    with served(sources(history), Guard(), lambda: NOW) as url:
        yield url


@pytest.fixture
def phone(browser: Browser) -> Iterator[BrowserContext]:
    found = browser.new_context(
        viewport={"width": 360, "height": 740}, timezone_id="Asia/Kolkata", color_scheme="dark"
    )
    yield found
    found.close()


@pytest.fixture
def page(phone: BrowserContext) -> Page:
    found = phone.new_page()
    found.set_default_timeout(15_000)
    return found


@pytest.fixture
def loop(tmp_path: Path) -> Iterator[Loop]:
    """A daemon that has run some cycles."""
    found = make_loop(tmp_path)
    for _ in range(3):
        found.cycle()
    yield found
    found.history.close()


def test_on_a_phone_nothing_scrolls_sideways_and_nothing_is_refused(page: Page, base: str) -> None:
    watched = Watched()
    watched.watch(page)
    for view in VIEWS:
        page.goto(base + view)
        too_wide = page.evaluate(
            "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        )
        assert too_wide <= 0, f"{view} is {too_wide} px too wide"
    missing = [line for line in watched.console if "404" in line]  # of the target that is unknown
    assert watched.console == missing
    assert len(missing) <= 1
    assert watched.asked == {urlsplit(base).netloc}


def test_a_script_in_what_others_wrote_does_not_run(page: Page, base: str) -> None:
    opened: list[str] = []

    def told(dialog: Dialog) -> None:
        opened.append(dialog.message)
        dialog.dismiss()

    page.on("dialog", told)
    for view in ("/", "/alerts", "/targets/chat", f"/targets/{ODD_NAME}"):
        page.goto(base + view)
        assert page.locator("main img").count() == 0
    assert opened == []


def test_times_are_in_the_readers_zone_with_utc_in_the_title(page: Page, base: str) -> None:
    page.goto(f"{base}/experiments/exp-000101")
    began = page.locator("time").first
    assert began.get_attribute("title") == "2026-09-20 06:00:00 UTC"
    assert began.inner_text() == "2026-09-20 11:30:00"


def test_the_theme_follows_the_system_until_it_is_switched(page: Page, base: str) -> None:
    def grounded(colour: str) -> None:
        # Waits for the page that the switch loads: it has the same address as the one before.
        expect(page.locator("body")).to_have_css("background-color", colour)

    page.goto(f"{base}/alerts")
    grounded("rgb(20, 23, 26)")
    page.get_by_role("button", name="Light").click()
    grounded("rgb(251, 251, 250)")
    page.emulate_media(color_scheme="light")
    page.get_by_role("button", name="Dark").click()
    grounded("rgb(20, 23, 26)")


def test_what_is_left_of_the_error_budget_is_a_bar_with_its_words(page: Page, base: str) -> None:
    page.goto(f"{base}/targets/chat")
    bar = page.locator("#budget").get_by_role("img")
    assert "51.3% is left" in str(bar.get_attribute("aria-label"))
    filled, whole = (bar.locator(name).bounding_box() for name in (".part.good", ".rest"))
    assert filled is not None
    assert whole is not None
    assert filled["width"] == pytest.approx(0.513 * whole["width"], abs=2)
    assert page.get_by_text("no test starts").is_visible()


def test_the_keyboard_reaches_the_content_first(page: Page, base: str) -> None:
    page.goto(base)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    page.wait_for_url("**/#main")


def test_a_person_pauses_a_real_daemon_and_sees_it_without_a_reload(page: Page, loop: Loop) -> None:
    with served(Sources(loop.history), Guard(), lambda: loop.now) as url:
        page.goto(f"{url}/targets/t")
        page.evaluate("window.seenBefore = true")
        page.get_by_role("link", name="Pause…").click()
        dialog = page.get_by_role("dialog")
        assert "Pause t?" in dialog.inner_text()
        assert "Nothing is tuned until somebody resumes it" in dialog.inner_text()
        dialog.get_by_role("link", name="Leave it as it is").click()
        dialog.wait_for(state="detached")
        assert loop.history.asked_mode("t") is Mode.ACTIVE
        page.get_by_role("link", name="Pause…").click()
        dialog.get_by_role("button", name="Pause").click()
        page.get_by_text("Pause was asked for").wait_for()
        assert loop.history.asked_mode("t") is Mode.PAUSED
        page.evaluate("window.seenBefore = true")
        sentence = loop.cycle()
        page.locator("#said").get_by_text(sentence).wait_for()  # the page asks every 5 s
        page.get_by_role("link", name="Resume…").wait_for()
        assert page.evaluate("window.seenBefore"), "it was refreshed, not loaded again"


def test_all_works_without_scripts(browser: Browser, loop: Loop) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    with served(Sources(loop.history), Guard(), lambda: loop.now) as url:
        page.goto(f"{url}/targets/t")
        page.get_by_role("link", name="Pause…").click()
        assert page.get_by_role("heading", level=1).inner_text() == "Pause t?"
        page.get_by_role("button", name="Pause").click()
        assert page.get_by_text("Pause was asked for").is_visible()
        assert loop.history.asked_mode("t") is Mode.PAUSED
        loop.cycle()
        page.reload()
        assert page.get_by_role("link", name="Resume…").is_visible()
        page.goto(f"{url}/alerts")
        page.get_by_text("Add a silence").click()
        page.get_by_label("Target").select_option("t")
        page.get_by_label("Why").fill("fan is replaced")
        page.get_by_role("button", name="Silence").click()
        assert page.get_by_text("The silence holds").is_visible()
        [silence] = loop.history.silences(time.time())
        assert (silence.target, silence.comment) == ("t", "fan is replaced")
    context.close()
