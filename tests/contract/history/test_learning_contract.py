"""What the agent learns from: reasons, checks of its model, releases, and whole past trials."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, replace

import pytest

from autotuner.domain.errors import HistoryError
from autotuner.domain.experiment import Experiment, Verdict
from autotuner.domain.explanation import Explanation, NearTrial
from autotuner.domain.knobs import Settings
from autotuner.domain.learning import AgentRelease, ModelCheck
from autotuner.history.store import History

AT = 1_764_000_000.0
SETTINGS = Settings({"max_num_seqs": 48})
REASON = Explanation(
    seen={"rate_rps": 4.0, "utilisation": math.inf},
    effect=0.2,
    low=-math.inf,
    high=0.4,
    incumbent={"attainment": 0.6},
    candidate={"attainment": 0.8, "ttft_s": 0.3},
    nearest=(
        NearTrial("exp-0", {"max_num_seqs": 64, "policy": "fcfs"}, 0.1, 0.0, 0.2, "ACCEPTED", 2),
    ),
    method="policy",
    considered=12,
    model_note="within 20% over 40 checks",
)
RELEASE = AgentRelease(AT, "chat", "2", "1", "abc", "agents/chat-2", "fine-tuned", 0.04, 0.06, 64)
Build = Callable[..., Experiment]


def test_a_reason_is_read_back_and_kept(history: History, build: Build) -> None:
    history.record_experiment(build("e1", pairs=1), explanation=REASON)
    history.record_experiment(build("e1", pairs=2))
    assert history.explanation("e1") == REASON
    history.record_experiment(build("e2"))
    assert history.explanation("e2") is None
    assert history.explanation("nothing") is None


def test_a_reason_without_figures_is_read_back(history: History, build: Build) -> None:
    history.record_experiment(build("e1"), explanation=Explanation(method="random"))
    told = history.explanation("e1")
    assert told is not None
    assert (told.method, told.nearest, told.seen) == ("random", (), {})
    assert math.isnan(told.effect)


def test_when_an_experiment_ended(history: History, build: Build) -> None:
    history.record_experiment(build("e1"))
    assert history.ended_at("e1") is None
    history.record_experiment(build("e1", verdict=Verdict.ACCEPTED), at=AT + 999)
    assert history.ended_at("e1") == AT + 999
    assert history.ended_at("nothing") is None


def test_a_trial_has_its_interval_its_outcome_and_its_id(history: History, build: Build) -> None:
    history.record_experiment(build("e1", verdict=Verdict.ACCEPTED))
    history.record_experiment(build("e2", pairs=0, at=AT + 1000, verdict=Verdict.HARMFUL))
    measured = build("e3", at=AT + 2000, verdict=Verdict.REJECTED)
    history.record_experiment(replace(measured, plan=replace(measured.plan, outcome="e2el")))
    first, second, third = history.trials("chat")
    assert (first.id, first.low, first.high, first.outcome) == ("e1", 0.1, 0.5, "attainment")
    assert second.id == "e2"
    assert math.isnan(second.low)
    assert math.isnan(second.high)
    assert (third.id, third.outcome) == ("e3", "e2el")


def test_checks_are_read_back_by_time_and_figure(history: History, build: Build) -> None:
    history.record_experiment(build("e1"))
    slow = ModelCheck(AT + 60, "ttft_s", 0.5, 0.7, SETTINGS)
    early = ModelCheck(AT, "attainment", 0.9, 0.8, SETTINGS)
    effect = ModelCheck(AT + 90, "effect", 0.1, -0.2, None, "e1")
    history.record_model_checks("chat", [slow, early, effect])
    history.record_model_checks("chat", [])
    assert history.model_checks("chat", since=AT) == (early, slow, effect)
    assert history.model_checks("chat", since=AT + 1, figure="ttft_s") == (slow,)
    assert history.model_checks("chat", since=AT, figure="step_s") == ()
    assert history.model_checks("other", since=AT) == ()
    assert history.settings(SETTINGS.digest) == SETTINGS


def test_a_figure_that_is_not_known_stays_so(history: History) -> None:
    history.record_model_checks("chat", [ModelCheck(AT, "tpot_s", math.nan, 0.02)])
    (check,) = history.model_checks("chat", since=AT)
    assert math.isnan(check.predicted)
    assert (check.measured, check.settings, check.experiment) == (0.02, None, "")


def test_checks_of_what_is_not_recorded_are_refused_as_a_whole(history: History) -> None:
    good = ModelCheck(AT, "ttft_s", 0.5, 0.7)
    with pytest.raises(HistoryError, match="must be recorded before"):
        history.record_model_checks("chat", [good, replace(good, experiment="nothing")])
    with pytest.raises(HistoryError, match="must be recorded before"):
        history.record_model_checks("nobody", [good])
    assert history.model_checks("chat", since=AT) == ()


def test_the_last_release_is_in_use(history: History) -> None:
    assert history.current_agent("chat") is None
    history.release_agent(RELEASE)
    # A rollback: the earlier one is released again; clocks may go back, the order counts.
    back = replace(RELEASE, at=AT - 5, version="1", parent="", reason="worse", score=0.06)
    history.release_agent(back)
    assert history.current_agent("chat") == back
    assert history.agent_releases("chat", 10) == (back, RELEASE)
    assert history.agent_releases("chat", 1) == (back,)
    assert history.current_agent("other") is None


def test_scores_that_were_not_taken_stay_so(history: History) -> None:
    first = AgentRelease(AT, "chat", "1", "", "abc", "agents/start", "shipped")
    history.release_agent(first)
    kept = history.current_agent("chat")
    assert kept is not None
    told = asdict(kept)
    assert [math.isnan(told.pop(name)) for name in ("score", "before")] == [True, True]
    assert told == {k: v for k, v in asdict(first).items() if k not in ("score", "before")}


def test_checks_are_pruned_and_releases_stay(history: History) -> None:
    history.record_model_checks(
        "chat", [ModelCheck(AT, "ttft_s", 0.5, 0.7), ModelCheck(AT + 50, "ttft_s", 0.5, 0.7)]
    )
    history.release_agent(RELEASE)
    assert history.prune(AT + 50)["model_checks"] == 1
    assert len(history.model_checks("chat", since=0.0)) == 1
    assert history.current_agent("chat") == RELEASE
