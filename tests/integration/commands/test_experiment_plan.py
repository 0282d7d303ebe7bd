"""`autotuner experiment plan`: what a test would cost, and why one is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from autotuner.abtest.design import needed_pairs
from autotuner.abtest.discovery import level
from autotuner.config import load_plan, parse_config
from autotuner.declaring import checked, target_named
from autotuner.domain.experiment import (
    Design,
    Plan,
    Verdict,
)
from autotuner.history.store import History
from tests.integration.commands.support import (
    PLANS,
    POLICIES,
    Command,
    closed,
    daemon_lives,
    experiment,
)


def test_a_cost_by_the_policys_guess_and_by_measured_noise(
    command: Command, history: History, plan_file: Callable[..., str]
) -> None:
    guess = json.loads(command("plan", plan_file(), "--json").stdout)
    assert guess["outcome"]["noise_sd"] == 0.1
    assert guess["outcome"]["noise_pairs"] == 0
    assert guess["needed_pairs"] == 0
    daemon_lives(history)
    history.record_experiment(closed(experiment("e1", [0.04, 0.02] * 5, Plan()), Verdict.REJECTED))
    measured = json.loads(command("plan", plan_file(), "--gain", "2", "--json").stdout)
    assert measured["outcome"]["noise_sd"] == pytest.approx(0.01 * (10 / 9) ** 0.5)
    assert (measured["outcome"]["noise_pairs"], measured["outcome"]["noise_tests"]) == (10, 1)
    assert measured["needed_pairs"] == needed_pairs(0.02 / measured["outcome"]["noise_sd"])
    assert measured["refusal"] is None
    assert history.declared() == []


def test_a_test_that_can_not_end_is_refused_with_figures(
    command: Command, plan_file: Callable[..., str]
) -> None:
    done = command("plan", plan_file(), "--gain", "1")
    assert done.exit_code == 1
    words = " ".join(done.output.split())
    assert "refused" in words
    assert "an effect of +0.010 against a pair noise of 0.100 needs about 123" in words
    assert command("plan", plan_file(), "--gain", "20").exit_code == 0


def test_a_guardrail_that_can_not_be_shown_is_refused(
    command: Command, plan_file: Callable[..., str]
) -> None:
    guard = {"measure": "e2el_p95", "margin": 0.05, "prior_sd": 0.2}
    done = command("plan", plan_file(experiment={"guardrails": [guard]}))
    assert done.exit_code == 1
    assert "guardrail e2el_p95" in " ".join(done.output.split())


@pytest.mark.parametrize("path", sorted(PLANS.glob("*.yaml")), ids=lambda path: path.stem)
def test_the_plans_that_ship_can_be_run(path: Path, command: Command) -> None:
    done = command("plan", str(path))
    assert done.exit_code == 0, done.output


def test_a_plan_is_read_as_it_is_written() -> None:
    config = parse_config({"targets": [{"name": "chat", "url": "http://127.0.0.1:9"}]})
    declared = load_plan(PLANS / "larger-chunks.yaml")
    wish = checked(declared, "plan", target_named(config, "chat"))
    assert wish.changes == {"max_num_batched_tokens": 512}
    assert wish.plan.max_pairs == 40
    assert [guard.measure for guard in wish.plan.guardrails] == ["gap_p95", "error_share"]
    assert wish.plan.design is Design.SWITCHBACK
    assert wish.plan.cooldown_s == 6  # the policy's


def test_answers_are_guarded_where_a_changed_knob_can_change_them(
    plan_file: Callable[..., str], tmp_path: Path
) -> None:
    policy = tmp_path / "p.yaml"
    knobs = {
        "max_num_seqs": {"levels": [16, 32]},
        "attention": {"levels": ["full", "top_k(32)"], "changes_answers": True},
    }
    guard = [{"measure": "quality", "margin": 0.05}, {"measure": "ttft_p95", "margin": 0.5}]
    told = {"name": "p", "slo": {"ttft_s": 1}, "knobs": knobs, "experiment": {"guardrails": guard}}
    policy.write_text(yaml.safe_dump(told))
    config = parse_config(
        {"targets": [{"name": "chat", "url": "http://127.0.0.1:9", "policy": str(policy)}]}
    )
    watched = {}
    for name, value in (("max_num_seqs", 32), ("attention", "top_k(32)")):
        declared = load_plan(Path(plan_file(changes={name: value}, experiment={})))
        wish = checked(declared, "plan", target_named(config, "chat"))
        watched[name] = [guard.measure for guard in wish.plan.guardrails]
    assert watched == {"max_num_seqs": ["ttft_p95"], "attention": ["quality", "ttft_p95"]}


def test_the_level_of_a_test_follows_from_those_before(
    command: Command, history: History, plan_file: Callable[..., str], tmp_path: Path
) -> None:
    policy = yaml.safe_load((POLICIES / "default.yaml").read_text())
    policy["experiment"]["fdr"] = "e-lond"
    (tmp_path / "p.yaml").write_text(yaml.safe_dump(policy))
    config = yaml.safe_load((tmp_path / "a.yaml").read_text())
    config["targets"][0]["policy"] = str(tmp_path / "p.yaml")
    (tmp_path / "a.yaml").write_text(yaml.safe_dump(config))
    daemon_lives(history)
    levels = []
    for number in range(3):
        done = command("plan", plan_file(), "--json")
        levels.append(json.loads(done.stdout)["alpha"])
        refuted = closed(experiment(f"e{number}", [0.1], Plan()), Verdict.REJECTED)
        history.record_experiment(refuted)
    assert levels == pytest.approx([level(0.05, tests, 0) for tests in range(3)])
    aa = json.loads(command("plan", plan_file(changes={}), "--json").stdout)
    assert aa["alpha"] == pytest.approx(0.05)
