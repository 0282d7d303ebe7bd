"""Every view, from a history with something of everything and from an empty one."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from autotuner.history.store import History
from autotuner.web.pages.render import Visit
from autotuner.web.pages.shows import Chosen, Pages, Typed
from autotuner.web.problems import RequestError, UnknownNameError
from autotuner.web.sources import Sources
from tests.unit.web_pages.filled import HOSTILE, NOW, ODD_NAME
from tests.unit.web_pages.reader import faults, read

VISIT = Visit("/", "/", NOW, who="ines", logged_in=True, may_act=True)
READER = Visit("/", "/", NOW, who="vic", logged_in=True)
TESTS = ("exp-000101", "exp-000102", "exp-000105", "exp-000106", "exp-000107", "exp-000123")
VIEWS: dict[str, Callable[[Pages], str]] = {
    "fleet": lambda pages: pages.fleet(VISIT),
    "target": lambda pages: pages.target(VISIT, "chat"),
    "paused": lambda pages: pages.target(VISIT, "code"),
    "never driven": lambda pages: pages.target(VISIT, "embedding-eu"),
    "odd name": lambda pages: pages.target(VISIT, ODD_NAME),
    "experiments": lambda pages: pages.experiments(VISIT, Chosen()),
    "alerts": lambda pages: pages.alerts(VISIT),
    "alerts, problem": lambda pages: pages.alerts(VISIT, HOSTILE, Typed(alert=HOSTILE)),
    "agent": lambda pages: pages.agent(VISIT),
    "pause": lambda pages: pages.confirm_action(VISIT, "chat", "pause"),
    "stop": lambda pages: pages.confirm_action(VISIT, "chat", "stop"),
    "end silence": lambda pages: pages.confirm_silence_end(VISIT, 1),
    **{key: lambda pages, key=key: pages.experiment(VISIT, key) for key in TESTS},  # type: ignore[misc]
}


@pytest.fixture(params=VIEWS)
def shown(request: pytest.FixtureRequest, pages: Pages) -> str:
    return VIEWS[request.param](pages)


def test_a_view_is_sound_and_needs_nothing_inline_or_from_outside(shown: str) -> None:
    assert faults(shown) == []


def test_no_figure_is_told_as_the_program_holds_it(shown: str) -> None:
    assert re.findall(r"\b(?:nan|inf|None|True|False|Markup|Undefined)\b", read(shown).words) == []


def test_what_others_wrote_is_escaped(shown: str) -> None:
    assert "<script>alert" not in shown
    assert "<img" not in shown


def test_what_others_wrote_is_shown_as_they_wrote_it(pages: Pages) -> None:
    for view in ("fleet", "alerts", "alerts, problem", "end silence", "target"):
        assert " ".join(HOSTILE.split()) in read(VIEWS[view](pages)).words


def test_times_tell_utc_before_a_script_runs(pages: Pages) -> None:
    (first, *_) = read(pages.experiments(VISIT, Chosen())).all("time")
    assert first.attributes["datetime"] == "2026-09-22T17:59:00Z"
    assert first.text == first.attributes["title"] == "2026-09-22 17:59:00 UTC"


def test_fleet_tells_health_mode_sentence_and_confidence(pages: Pages) -> None:
    words = read(pages.fleet(VISIT)).words
    for told in (
        "4 targets, 2 under test, 3 alerts firing",
        "slot 9 of exp-000123 counts",
        "max_num_batched_tokens 512",
        "Confidence that it is better 77.8%",
        "The daemon is late",
        "No daemon has spoken of this target yet",
        "GpuHot (silenced)",
    ):
        assert told in words


def test_target_tells_each_target_of_the_slo_beside_what_was_seen(pages: Pages) -> None:
    words = read(pages.target(VISIT, "chat")).words
    assert "SLO attainment 86% at least 99%: missed" in words
    assert "Time to first token 412 ms at most 1.5 s: kept" in words
    assert "Largest gap 171 ms at most 150 ms: missed" in words
    assert "GPU at work –" in words


def test_target_tells_what_is_left_of_the_error_budget(pages: Pages) -> None:
    told = read(pages.target(VISIT, "chat")).words
    assert "Error budget left 51.3%" in told
    assert "51.3% is left (312 of 1284012 requests failed in 30 days, 642 may at 99.95%)" in told
    assert "at the last hour's pace it lasts 32.3 days" in told
    assert "Below 10%, the mark, no test starts" in told
    assert "Error budget" not in read(pages.target(VISIT, "code")).words


def test_target_draws_samples_band_and_anomalies(pages: Pages) -> None:
    page = pages.target(VISIT, "chat")
    assert page.count('class="band"') == 2 * 4  # wide and narrow, of four series
    assert page.count('class="odd"') == 2 * 2
    label = next(
        o.attributes["aria-label"]
        for o in read(page).all("svg")
        if "Load" in o.attributes["aria-label"]
    )
    assert "is expected, between" in label
    assert label.endswith("1 anomaly.")


def test_target_tells_who_asked_for_what(pages: Pages) -> None:
    page = read(pages.target(VISIT, "chat"))
    assert "rollback ines@10.0.0.4 – taken 2026-09-22 15:30:04 UTC" in page.words
    assert "waits for the daemon" not in page.words


def test_decisions_go_on_where_the_page_ended(pages: Pages) -> None:
    first = read(pages.target(VISIT, "chat"))
    (older,) = [o for o in first.all("a") if o.text == "Older"]
    cursor = re.search(r"cursor=([^#]+)#", older.attributes["href"])
    assert cursor is not None
    second = read(pages.target(VISIT, "chat", cursor.group(1))).words
    assert "slot 14 counts" in second
    assert "slot 39 counts" not in second
    assert "slot 39 counts" in first.words


def test_experiment_tells_confidence_interval_reason_and_explanation(pages: Pages) -> None:
    words = read(pages.experiment(VISIT, "exp-000101")).words
    for told in (
        "The treatment is better",
        "ACCEPTED",
        "Needed: 95% (the mark), at any look.",
        "What was seen Requests a second 3.4",
        "attainment 71.0% → 82.0%",
        "max_num_seqs=24 in exp-000119, 1 level away",
        "too few requests (3, at least 10 are needed)",
    ):
        assert told in words


def test_a_test_that_ended_offers_no_stop_and_is_not_refreshed(pages: Pages) -> None:
    page = read(pages.experiment(VISIT, "exp-000101"))
    assert page.all("body")[0].attributes["data-every"] == "0"
    assert "Stop the test" not in page.words
    assert "Stop the test…" in read(pages.experiment(VISIT, "exp-000123")).words


def test_who_may_not_act_is_offered_nothing(pages: Pages) -> None:
    for page in (
        pages.target(READER, "chat"),
        pages.experiment(READER, "exp-000123"),
        pages.alerts(READER),
    ):
        assert [o for o in read(page).all("a") if "data-confirm" in o.attributes] == []
        posted = [
            o.attributes["action"]
            for o in read(page).all("form")
            if o.attributes["method"] == "post"
        ]
        assert set(posted) == {"/theme", "/logout"}


def test_a_target_is_offered_what_makes_sense(pages: Pages) -> None:
    def offered(name: str) -> list[str]:
        links = read(pages.target(VISIT, name)).all("a")
        return [o.text for o in links if "data-confirm" in o.attributes]

    assert offered("chat") == ["Pause…", "Roll back…", "Stop the test…"]
    assert offered("code") == ["Resume…", "Roll back…", "Stop the test…"]
    assert offered("embedding-eu") == ["Pause…", "Roll back…"]


def test_a_confirmation_names_the_target_and_what_follows(pages: Pages) -> None:
    page = read(pages.confirm_action(VISIT, "chat", "stop", "exp-000123"))
    assert page.all("h1")[0].text == "Stop the test on chat?"
    assert "the test on chat ends as ABORTED" in page.words
    hidden = {o.attributes["name"]: o.attributes["value"] for o in page.all("input")}
    assert hidden["experiment"] == "exp-000123"


@pytest.mark.parametrize(
    ("chosen", "ids"),
    [
        (Chosen(text="SEQS"), 6),
        (Chosen(text="max_num_seqs=16"), 6),  # an A/A test changes nothing
        (Chosen(text="exp-000102"), 1),
        (Chosen(verdict="ACCEPTED"), 2),
        (Chosen(target="code"), 1),
        (Chosen(target="chat", text="no such words"), 0),
    ],
)
def test_search(pages: Pages, chosen: Chosen, ids: int) -> None:
    page = read(pages.experiments(VISIT, chosen))
    assert (
        len([o for o in page.all("a") if o.attributes["href"].startswith("/experiments/")]) == ids
    )
    assert ("No experiment fits the search." in page.words) == (ids == 0)


def test_names_that_nobody_knows_are_refused_with_the_fix(pages: Pages) -> None:
    asks: tuple[Callable[[], str], ...] = (
        lambda: pages.target(VISIT, "chatt"),
        lambda: pages.experiment(VISIT, "exp-9"),
        lambda: pages.experiments(VISIT, Chosen(target="chatt")),
        lambda: pages.confirm_action(VISIT, "chat", "explode"),
        lambda: pages.confirm_silence_end(VISIT, 99),
    )
    for ask in asks:
        with pytest.raises(UnknownNameError):
            ask()
    with pytest.raises(RequestError, match="cursor"):
        pages.experiments(VISIT, Chosen(cursor="%"))


def test_an_empty_history_says_what_to_do(empty: History) -> None:
    pages = Pages(Sources(empty))
    told = {
        "autotuner run --config FILE": pages.fleet(VISIT),
        "No experiment yet": pages.experiments(VISIT, Chosen()),
        "No alert fires.": pages.alerts(VISIT),
        "name one in the configuration file": pages.agent(VISIT),
    }
    for words, page in told.items():
        assert words in read(page).words
        assert faults(page) == []


def test_a_figure_is_drawn_anew_only_when_its_test_has_changed(
    pages: Pages, history: History
) -> None:
    test = history.experiment("exp-000102")
    assert test is not None
    first, again = pages.figures.of(test), pages.figures.of(test)
    assert all(one is other for one, other in zip(first, again, strict=True))
    assert len(first) == 5
