"""What page and API show, read from a history that holds a bit of everything."""

from __future__ import annotations

import json
import math
from dataclasses import asdict

import pytest

from autotuner.domain.availability import Tally
from autotuner.domain.error_budget import AvailabilityGoal, ErrorBudget
from autotuner.domain.experiment import Verdict
from autotuner.domain.goals import Goal
from autotuner.domain.silences import Silence
from autotuner.domain.slo import SLO
from autotuner.history.store import History
from autotuner.web import reading
from autotuner.web.live import objectives
from autotuner.web.problems import RequestError, UnknownNameError
from autotuner.web.sources import Glimpse, Sources
from tests.unit.web.house import LIVE, NOW


@pytest.fixture
def sources(filled: History) -> Sources:
    return Sources(filled)


def test_the_fleet_tells_each_target(sources: Sources) -> None:
    chat, quiet = reading.fleet(sources, NOW).targets
    assert (chat.name, chat.health, chat.mode) == ("chat", "ok", "active")
    assert chat.heartbeat is not None
    assert chat.heartbeat.sentence == "held: idle"
    assert chat.heartbeat.age_s == pytest.approx(3)
    assert chat.incumbent is not None
    assert chat.incumbent.why == "won its test"
    assert chat.running is not None
    assert chat.running.id == "t4"
    assert {alert.name for alert in chat.alerts} == {"HighTTFT", "Drift"}
    assert chat.verdicts == {"ACCEPTED": 4}
    assert (quiet.name, quiet.health, quiet.heartbeat) == ("quiet", "unknown", None)


def test_a_target_without_a_word_is_late(sources: Sources) -> None:
    assert reading.fleet(sources, NOW + 100).targets[0].health == "late"


def test_a_silenced_alert_is_marked(sources: Sources) -> None:
    sources.history.add_silence(Silence(NOW - 1, NOW + 60, "ana", "known", alert="Drift"))
    marked = {one.name: one.silenced for one in reading.alerts(sources, NOW, firing=True)}
    assert marked == {"HighTTFT": False, "Drift": True}
    chat = reading.fleet(sources, NOW).targets[0]
    assert {one.name: one.silenced for one in chat.alerts} == marked
    assert not any(one.silenced for one in reading.alerts(sources, NOW + 60, firing=True))


def test_alerts_that_fire_and_those_that_are_over(sources: Sources) -> None:
    def names(**which: object) -> set[str]:
        return {one.name for one in reading.alerts(sources, NOW, **which)}  # type: ignore[arg-type]

    assert names() == {"HighTTFT", "Drift", "Old"}
    assert names(firing=False) == {"Old"}
    assert names(firing=True) == {"HighTTFT", "Drift"}
    assert names(since=NOW - 60, firing=False) == set()
    assert names(target="quiet") == set()


def test_one_target_with_its_settings_and_series(sources: Sources) -> None:
    seen = reading.target(sources, "chat", NOW)
    now, before = seen.settings.items
    assert now.changed == {"max_num_seqs": (16, 32)}
    assert (now.until, before.until) == (None, now.since)
    assert before.changed == {}
    ttft = next(one for one in seen.series if one.name == "ttft_s")
    assert [one.value for one in ttft.samples] == [0.5, None]  # NaN is a hole
    assert [(p.value, p.low, p.high) for p in ttft.forecast] == [(0.6, 0.4, 0.8), (0.7, 0.5, 0.9)]
    assert (ttft.forecast_model, ttft.forecast_note) == ("robust", "few points")
    assert [one.score for one in ttft.anomalies] == [4.0]
    assert seen.other_series == ("kv_usage",)


def test_live_values_are_those_that_the_daemon_here_saw(filled: History) -> None:
    glimpse = Glimpse(
        {"attainment": 0.95, "ttft_s": 0.4, "e2el_s": math.nan},
        NOW - 2,
        SLO(ttft_s=0.5, e2el_s=3.0),
        Goal(attainment=0.99),
    )
    seen = reading.target(Sources(filled, lambda name: glimpse), "chat", NOW).live
    assert (seen.here, seen.at) == (True, NOW - 2)
    assert seen.values == {"attainment": 0.95, "ttft_s": 0.4, "e2el_s": None}
    assert {one.name: one.met for one in seen.objectives} == {
        "attainment": False, "ttft_s": True, "e2el_s": None,
    }  # fmt: skip


def test_live_values_of_another_process_are_its_last_bucket(sources: Sources) -> None:
    seen = reading.target(sources, "chat", NOW).live
    assert (seen.here, seen.at, seen.slo) == (False, NOW - 300, None)
    assert seen.values == {"kv_usage": 0.7}
    assert reading.target(sources, "chat", NOW + 7200).live.values == {}


def test_the_budget_is_told_with_its_figures_and_its_counts_are_no_series(filled: History) -> None:
    budget = ErrorBudget(AvailabilityGoal(), Tally(100, 1), {"1h": Tally(100, 1)})
    filled.append_samples("chat", [("availability_requests", NOW - 300, 100.0)])
    glimpse = Glimpse({}, NOW - 2, SLO(ttft_s=0.5), Goal(), budget)
    seen = reading.target(Sources(filled, lambda name: glimpse), "chat", NOW)
    assert seen.live.budget is not None
    assert json.loads(json.dumps(asdict(seen.live.budget))) == budget.figures()
    assert seen.live.budget.remaining is None, "too few requests"
    assert seen.live.budget.burn_rates["1h"] == pytest.approx(20)
    assert "availability_requests" not in (*seen.live.values, *seen.other_series)


def test_objectives_are_only_those_of_the_slo() -> None:
    [attainment] = objectives(SLO(), Goal(attainment=0.9), {"attainment": 0.9})
    assert (attainment.name, attainment.limit, attainment.met) == ("attainment", 0.9, True)


def test_cursors_lead_through_all_experiments_once(sources: Sources) -> None:
    seen, cursor = [], None
    while True:
        page = reading.experiments(sources, cursor=cursor, limit=2)
        assert len(page.items) <= 2
        seen += [one.id for one in page.items]
        cursor = page.next
        if cursor is None:
            break
    assert sorted(seen) == ["t0", "t1", "t2", "t3", "t4"]
    assert len(reading.experiments(sources, verdict=Verdict.ACCEPTED).items) == 4
    assert reading.experiments(sources, target="quiet").items == ()


def test_cursors_lead_through_decisions_and_settings(sources: Sources) -> None:
    first = reading.decisions(sources, "chat", limit=3)
    second = reading.decisions(sources, "chat", limit=3, cursor=first.next)
    told = [one.reason for one in (*first.items, *second.items)]
    assert told == [f"reason {k}" for k in (4, 3, 2, 1, 0)]
    assert second.next is None
    newest = reading.settings(sources, "chat", limit=1)
    assert newest.items[0].changed == {"max_num_seqs": (16, 32)}  # known across the page's end
    oldest = reading.settings(sources, "chat", limit=1, cursor=newest.next)
    assert (oldest.items[0].settings, oldest.next) == (dict(LIVE), None)


def test_one_experiment_has_slots_looks_and_words(sources: Sources) -> None:
    seen = reading.experiment(sources, "t0")
    assert seen["verdict"]["verdict"] == "ACCEPTED"
    assert len(seen["slots"]) == 4
    assert [look["confidence"] for look in seen["looks"]] == [0.4, 0.4]
    assert seen["words"]["headline"]


def test_the_audit_trail_and_the_agent(sources: Sources) -> None:
    [action] = reading.actions(sources).items
    assert (action.what, action.who, action.taken_at) == ("resume", "ana@10.0.0.7", None)
    agent = reading.agent(sources, "chat", NOW)
    assert agent.releases[0].version == "v3"
    assert agent.errors == {"ttft_s": pytest.approx(0.5)}  # the median of 1.0 and 0.0
    assert reading.agent(sources, "chat", NOW + 30 * reading.DAY_S).checks == ()


def test_silences_tell_their_state(sources: Sources) -> None:
    for start, end in ((NOW - 9, NOW - 5), (NOW - 5, NOW + 5), (NOW + 5, NOW + 9)):
        sources.history.add_silence(Silence(start, end, "ana", "c", target="chat"))
    assert [one.state for one in reading.silences(sources, NOW)] == ["waits", "active"]
    assert len(reading.silences(sources, NOW, ended=True)) == 3


@pytest.mark.parametrize("cursor", ["x", "!", "", "LTE", "MQ=\n", "OTk5OTk5OTk5OTk5OTk5OTk5OTk5"])
def test_a_cursor_that_is_none_of_ours_is_refused(sources: Sources, cursor: str) -> None:
    with pytest.raises(RequestError, match="cursor"):
        reading.decisions(sources, "chat", cursor=cursor)


def test_unknown_names_are_told_with_the_known_ones(sources: Sources) -> None:
    with pytest.raises(UnknownNameError, match="chat, quiet"):
        reading.target(sources, "nix", NOW)
    with pytest.raises(UnknownNameError):
        reading.experiment(sources, "nix")
    for ask in (reading.decisions, reading.settings):
        with pytest.raises(UnknownNameError):
            ask(sources, "nix")


def test_all_of_it_is_json_without_nan(sources: Sources) -> None:
    everything = [
        asdict(reading.fleet(sources, NOW)),
        asdict(reading.target(sources, "chat", NOW)),
        reading.experiment(sources, "t4"),
        asdict(reading.agent(sources, "chat", NOW)),
        [asdict(one) for one in reading.alerts(sources, NOW)],
    ]
    assert json.loads(json.dumps(everything, allow_nan=False))
