"""What the study of drift counts: recovery, requests lost, going back; its workloads and truth."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from autotuner.agent.traffic import SampleMix
from autotuner.config import load_policy
from autotuner.domain.experiment import Verdict
from autotuner.domain.knobs import Settings
from autotuner.domain.slo import SLO
from autotuner.resources import resource_folder
from experiments.studies.drift import scoring, truth, workloads
from experiments.studies.drift.playing import Played, Trial, switched
from experiments.studies.drift.scenarios import Phase, Scenario, policy, scenarios
from experiments.studies.drift.scoring import Reign
from experiments.studies.drift.study import recoveries
from experiments.studies.drift.truth import Load, Truth

OLD, MIDDLE, NEW = (Settings({"max_num_seqs": n}) for n in (8, 16, 32))
MIX = SampleMix((100,), (10,))
EASY, HARD = Load("easy", 1.0, MIX), Load("hard", 2.0, MIX)
FIRST, SECOND = Phase(EASY, 0.0, 100.0), Phase(HARD, 100.0, 400.0)
STORY = Scenario("story", (FIRST, SECOND))
TRUTHS = {
    "easy": Truth({OLD: 1.0, MIDDLE: 0.9, NEW: 0.2}),
    "hard": Truth({OLD: 0.3, MIDDLE: 0.77, NEW: 0.8}),
}


def reign(*rulers: tuple[float, Settings]) -> tuple[Reign, ...]:
    return tuple(Reign(at, settings) for at, settings in rulers)


def won(at: float, settings: Settings) -> Trial:
    return Trial(at - 30.0, at, Verdict.ACCEPTED.value, "ppo", settings)


@pytest.mark.parametrize(
    ("rulers", "taken"),
    [
        (reign((0.0, OLD)), None),
        (reign((0.0, OLD), (160.0, NEW)), 60.0),
        (reign((0.0, OLD), (160.0, MIDDLE), (300.0, NEW)), 60.0),
        (reign((0.0, NEW)), 0.0),
        (reign((0.0, OLD), (160.0, NEW), (200.0, OLD), (390.0, NEW)), 290.0),
        (reign((0.0, OLD), (160.0, NEW), (200.0, OLD)), None),
        (reign((0.0, OLD), (450.0, NEW)), None),
    ],
)
def test_recovery_ends_when_good_settings_stay(
    rulers: tuple[Reign, ...], taken: float | None
) -> None:
    assert scoring.recovery_s(rulers, SECOND, TRUTHS["hard"]) == taken


def test_who_had_good_settings_all_along_has_no_time_to_recover() -> None:
    phases = [
        {"minutes": 90.0, "recovery_min": [0.0, 0.0, 0.0]},
        {"minutes": 150.0, "recovery_min": [None, 40.0, 0.0]},
        {"minutes": 30.0, "recovery_min": [None, 20.0, 0.0]},
    ]
    assert recoveries({"phases": phases}) == [150.0, 40.0]


def test_only_returns_within_a_phase_are_oscillations() -> None:
    rulers = reign((0.0, OLD), (120.0, NEW), (200.0, OLD), (300.0, NEW))
    assert scoring.oscillations(rulers, SECOND) == 2
    assert scoring.oscillations(reign((0.0, OLD), (50.0, NEW), (150.0, OLD)), SECOND) == 0


def test_a_change_shakes_where_the_old_optimum_is_not_enough() -> None:
    assert scoring.shaking(STORY, TRUTHS) == (1,)
    alike = {"easy": TRUTHS["easy"], "hard": TRUTHS["easy"]}
    assert scoring.shaking(STORY, alike) == ()


def test_requests_that_nobody_could_have_served_in_time_are_not_lost() -> None:
    oracle = Played({1.0: True, 2.0: True, 3.0: False, 4.0: True}, ())
    mine = Played({1.0: True, 2.0: False, 3.0: True}, ())
    assert scoring.lost_share(mine, oracle) == 0.5


def test_the_figures_of_a_run() -> None:
    oracle = Played({float(at): True for at in range(0, 400, 50)}, ())
    met = {at: not 100.0 <= at < 250.0 for at in oracle.met}
    harm = Trial(20.0, 30.0, Verdict.HARMFUL.value, "ppo", MIDDLE)
    found = scoring.figures(STORY, OLD, Played(met, (harm, won(220.0, NEW))), oracle, TRUTHS)
    assert found["goodput"] == found["phases"][1]["attainment"] + 0.125 == 0.625
    assert found["lost"] == 0.375
    assert (found["experiments"], found["promotions"], found["harmful"]) == (2, 1, 1)
    assert found["oscillations"] == 0
    assert [phase["recovery_min"] for phase in found["phases"]] == [0.0, 2.0]


def test_phases_follow_each_other_with_their_own_rate_and_lengths() -> None:
    mixes, _ = workloads.lengths()
    day, _ = workloads.day()
    for scenario in scenarios(mixes, day, shorter=0.5):
        ends = [phase.end for phase in scenario.phases]
        assert [phase.start for phase in scenario.phases[1:]] == ends[:-1]
        for phase in scenario.phases:
            middle = (phase.start + phase.end) / 2
            assert scenario.rate(middle) == phase.load.rate_rps > 0
            assert scenario.mixes.at(middle) is phase.load.mix


def test_without_the_data_lengths_are_drawn_and_the_day_is_the_written_one(tmp_path: Path) -> None:
    drawn, words = workloads.lengths(tmp_path)
    assert "drawn" in words
    assert np.median(drawn["chat"].output_tokens) > 5 * np.median(drawn["code"].output_tokens)
    day, _ = workloads.day(tmp_path)
    assert len(day) == workloads.DAY_PARTS
    assert sum(day) == pytest.approx(workloads.DAY_PARTS, abs=0.02)


def test_traces_are_read_as_they_lie(tmp_path: Path) -> None:
    for name in workloads.LENGTHS.values():
        text = "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:17:03.9,4808,0\n"
        (tmp_path / name).write_text(text, "utf-8")
    read, words = workloads.lengths(tmp_path)
    assert words == "Azure 2023"
    assert [list(read["code"].prompt_tokens), list(read["code"].output_tokens)] == [[4808], [1]]


def test_neighbours_of_the_best_differ_by_one_level_of_one_knob() -> None:
    space = load_policy("default", resource_folder("policies")).space()
    every = truth.coarse(space)
    best = every[7]
    near = truth.around(Truth({s: float(s == best) for s in every}), space, 1)
    assert best in near
    here = np.array(space.indices(best))
    assert {int(np.abs(np.array(space.indices(s)) - here).sum()) for s in near} == {0, 1}


def test_an_oracle_serves_what_settings_that_stay_can_not() -> None:
    tuned = policy(load_policy("default", resource_folder("policies")), "ppo", {})
    few, many = (
        Settings({**{k.name: k.levels[0] for k in tuned.space()}, **changes})
        for changes in (
            {"max_num_seqs": 1, "max_num_batched_tokens": 16},
            {"max_num_seqs": 16, "max_num_batched_tokens": 512},
        )
    )
    mix = SampleMix((200,), (20,))
    start = 1767571200.0
    slow, fast = Load("slow", 0.2, mix), Load("fast", 3.0, mix)
    scenario = Scenario(
        "two", (Phase(slow, start, start + 60.0), Phase(fast, start + 60.0, start + 180.0))
    )
    stayed, went = (
        switched(scenario, tuned, settings, 3) for settings in ((few, few), (few, many))
    )
    assert set(went.met) >= set(stayed.met)
    assert sum(went.met.values()) > 2 * sum(stayed.met.values())
    swept = truth.swept(fast, (few, many), SLO(ttft_s=2.0, gap_max_s=0.1), 1, 5)
    assert swept.optimum == many
    assert swept.near(few) < 0.2
