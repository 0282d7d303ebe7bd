"""Reports of tests that the machine itself ran, slot by slot, on a scripted target."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from autotuner.abtest.view import View
from autotuner.domain.experiment import Experiment, Guardrail
from autotuner.domain.knobs import Settings
from autotuner.domain.telemetry import Outcome
from autotuner.report.data import report_data
from autotuner.report.write import write_report
from tests.unit.abtest.fake_target import (
    PLAN,
    FakeTarget,
    attaining,
    experiment,
    run,
)
from tests.unit.abtest.virtual_target import TREATMENT, Reply

GUARDED = replace(PLAN, guardrails=(Guardrail("error_share", 0.03, 0.02),))


def ran(target: FakeTarget, overrun_at: int = -1) -> Experiment:
    def disturb(cycle: int, _target: FakeTarget, view: View) -> View:
        return replace(view, overrun=cycle == overrun_at)

    test, _ = run(target, experiment(plan=GUARDED), disturb)
    return test


def test_an_accepted_run_with_a_lost_pair(tmp_path: Path) -> None:
    test = ran(FakeTarget(attaining(0.6, 0.95)), overrun_at=30)
    data = report_data(test, 600.0)
    assert data["words"]["headline"] == "The treatment is better"
    assert data["guardrails"][0]["standing"] == "kept"
    (lost,) = data["excluded"]
    assert lost["reason"] == "exposures were overwritten before they were read"
    assert [one["pair"] for one in data["slots"] if one["excluded"]] == [0, 0]
    assert data["looks"][-1]["confidence"] >= 0.95
    html = write_report(test, tmp_path, 600.0)[0].read_text(encoding="utf-8")
    assert lost["reason"] in html


def test_a_run_that_a_hard_limit_ended_shows_who_suffered(tmp_path: Path) -> None:
    def serve(settings: Settings, number: int) -> Reply:
        bad = settings == TREATMENT and number % 3 == 0
        return Reply(None, 0.0, Outcome.REJECTED) if bad else Reply()

    test = ran(FakeTarget(serve))
    data = report_data(test, 60.0)
    assert data["words"]["headline"] == "The treatment is harmful: the control is back"
    assert data["words"]["sure"].startswith("A hard limit ended the test at once")
    assert data["cost"]["treatment"]["failed"] > 0
    assert data["pairs"] == []
    assert len(write_report(test, tmp_path, 60.0)) == 3
