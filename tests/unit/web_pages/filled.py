"""A history with something of everything that the page shows, ending at `NOW`."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

from autotuner.domain.availability import Tally
from autotuner.domain.error_budget import AvailabilityGoal, ErrorBudget
from autotuner.domain.experiment import Experiment
from autotuner.domain.explanation import Explanation, NearTrial
from autotuner.domain.fine_tuning import BASE, FineTune, Intake, Scores, Stage
from autotuner.domain.forecasts import Alert, AnomalyScore, Forecast, ForecastPoint
from autotuner.domain.goals import Goal
from autotuner.domain.knobs import Settings, Value
from autotuner.domain.learning import AgentRelease, ModelCheck
from autotuner.domain.silences import Silence
from autotuner.domain.slo import SLO
from autotuner.history.records import DecisionOutcome
from autotuner.history.store import History, open_history
from autotuner.web.sources import Glimpse, Sources
from tests.unit.report.report_examples import EXAMPLES

NOW = 1_790_100_000.0
HOUR_S, STEP_S = 3600.0, 300.0
SLOS = SLO(ttft_s=1.5, gap_max_s=0.15)
CODE_KNOBS: dict[str, Value] = {
    "max_num_seqs": 32,
    "max_num_batched_tokens": 2048,
    "schedule_policy": "fcfs",
}
ODD_NAME = "x.very-long_target-name-that-nobody-can-break-at-a-space-0123456789-0123456789"
BUDGET = ErrorBudget(AvailabilityGoal(), Tally(1_284_000, 300, 12.5), {"1h": Tally(4200, 1)})
HOSTILE = '<script>alert("1")</script><img src=x onerror=alert(2)> & "quoted"'
WHY = Explanation(
    seen={
        "rate_rps": 3.4,
        "attainment": 0.71,
        "ttft_s": 1.9,
        "kv_load": 0.34,
        "horizon_s": math.inf,
    },
    effect=0.11,
    low=0.05,
    high=0.18,
    incumbent={"attainment": 0.71, "ttft_s": 1.9, "tpot_s": 0.041},
    candidate={"attainment": 0.82, "ttft_s": 0.9, "tpot_s": 0.046},
    nearest=(
        NearTrial("exp-000119", {"max_num_seqs": 24}, 0.09, 0.02, 0.16, "ACCEPTED", 1),
        NearTrial("exp-000117", {"max_num_seqs": 32}, -0.03, math.nan, math.nan, "REJECTED", 2),
    ),
    method="policy",
    considered=512,
    model_note="off by 9% on the last 12 checks",
)


def filled(folder: Path, *, odd: str = ODD_NAME, wrote: str = HOSTILE) -> History:
    """Two targets that run, one that nobody drives, and one (`odd`) that can't be read.

    `wrote`: what people, targets and rules wrote.
    """
    history = open_history(f"sqlite:///{folder / 'history.sqlite3'}")
    for name in ("chat", "code", "embedding-eu", odd):
        history.record_target(name, kind="worker", url="http://127.0.0.1:8000", at=NOW - 9e5)
    _experiments(history)
    _settings(history, odd, wrote)
    _series(history)
    _alerts(history, odd, wrote)
    _agents(history)
    _learning(history, wrote)
    _decisions(history, wrote)
    history.ask("chat", "rollback", "ines@10.0.0.4", NOW - 9000)
    history.take_controls("chat", NOW - 8996)
    return history


def sources(history: History) -> Sources:
    """With a daemon in this process that drives `chat`."""
    values = {
        "offered_rps": 3.41, "attainment": 0.86, "ttft_s": 0.412, "gap_max_s": 0.171,
        "kv_usage": 0.43, "running": 7.0, "waiting": 0.0, "gpu_utilisation": math.nan,
        "step_s": 0.0123, "power_w": 412.0, "temperature_c": 64.0,
    }  # fmt: skip
    glimpse = Glimpse(values, NOW - 3, SLOS, Goal(), BUDGET)
    return Sources(history, lambda name: glimpse if name == "chat" else None)


def running_id(history: History) -> str:
    found = history.status("chat").running
    assert found is not None
    return found.id


def _experiments(history: History) -> None:
    for number, (name, build) in enumerate(EXAMPLES.items()):
        if name in ("running", "without_pairs"):
            continue
        _keep(history, build(), f"exp-{101 + number:06d}", "chat", NOW - (60 - 6 * number) * HOUR_S)
    _keep(history, EXAMPLES["without_pairs"](), "exp-000201", "code", NOW - 60)
    _keep(history, EXAMPLES["running"](), "exp-000123", "chat", NOW - 800)


def _keep(history: History, test: Experiment, key: str, target: str, began: float) -> None:
    moved = replace(test, id=key, target=target, started_at=began, proposer="ppo")
    ended = None if moved.running else began + 2700
    history.record_experiment(moved, at=ended, predicted_effect=0.11, explanation=WHY)


def _settings(history: History, odd: str, wrote: str) -> None:
    for at, seqs, tokens, why in (
        (NOW - 90 * HOUR_S, 8, 2048, "found running at the first cycle"),
        (NOW - 60 * HOUR_S, 16, 2048, "exp-000101 accepted: the treatment is better"),
        (NOW - 30 * HOUR_S, 16, 512, "a person changed them: adopted"),
    ):
        found = Settings({**CODE_KNOBS, "max_num_seqs": seqs, "max_num_batched_tokens": tokens})
        accepted = "exp-000101" if "accepted" in why else None
        history.set_incumbent("chat", found, at=at, why=why, experiment_id=accepted)
    history.set_incumbent("code", Settings(CODE_KNOBS), at=NOW - 80 * HOUR_S, why="found running")
    said = (
        ("chat", NOW - 4, "slot 9 of exp-000123 counts, 4 pairs so far", "active"),
        ("code", NOW - 6, "paused: observing only", "paused"),
        (odd, NOW - 2000, f"the target can't be read: {wrote}", "advisory"),
    )  # fmt: skip
    for target, at, sentence, mode in said:
        history.heartbeat("gpu-7:4121", target, at=at, sentence=sentence, mode=mode)


def _level(at: float) -> float:
    return 3.2 - 1.1 * math.cos(2 * math.pi * (at - 18 * HOUR_S) / (24 * HOUR_S))


def _series(history: History) -> None:
    rows: list[tuple[str, float, float]] = []
    times = [NOW - n * STEP_S for n in range(144, 0, -1)]
    for n, at in enumerate(times):
        wave = math.sin(n * 1.7) * 0.12 + math.sin(n * 0.61) * 0.1
        load = math.nan if 60 <= n < 68 else _level(at) + wave + (2.2 if n in (110, 111) else 0.0)
        rows += [
            ("offered_rps", at, load),
            ("attainment", at, min(1.0, 0.86 + 0.05 * wave - (0.4 if n in (110, 111) else 0.0))),
            ("ttft_s", at, 0.4 + 0.15 * wave + (1.4 if n in (110, 111) else 0.0)),
            ("e2el_s", at, 2.1 + 0.4 * wave),
            ("kv_usage", at, 0.4 + 0.1 * wave),
        ]
    history.append_samples("chat", rows)
    history.append_samples("code", [("offered_rps", NOW - 600, math.nan)])
    for name, value, wide in (
        ("attainment", 0.86, 0.08),
        ("ttft_s", 0.4, 0.2),
        ("e2el_s", 2.1, 0.6),
    ):
        points = [
            ForecastPoint(at, value, value - wide, value + wide)
            for at in (NOW + n * STEP_S for n in range(-12, 96))
        ]
        history.record_forecast("chat", Forecast(name, NOW - HOUR_S, "seasonal", tuple(points)))
    points = [
        ForecastPoint(at, _level(at), _level(at) - 0.5, _level(at) + 0.6)
        for at in (NOW + n * STEP_S for n in range(-12, 96))
    ]
    note = "beat seasonal by 12% on the held-out end"
    history.record_forecast(
        "chat", Forecast("offered_rps", NOW - HOUR_S, "prophet", tuple(points), note)
    )
    odd = times[110]
    history.record_anomalies(
        "chat",
        [
            AnomalyScore("offered_rps", odd, _level(odd) + 2.2, _level(odd), 2.4, True),
            AnomalyScore("ttft_s", odd, 1.8, 0.4, 3.1, True),
        ],
    )


def _alerts(history: History, odd: str, wrote: str) -> None:
    found = (
        Alert("f1", "BatchLatencyHigh", "warning", "chat", "step_s is 31 ms", NOW - 900),
        Alert("f2", "GpuHot", "info", "code", "temperature_c is 84, above 81", NOW - 4000),
        Alert("f3", "TargetDown", "critical", odd, wrote, NOW - 1900),
        Alert("f4", "Anomaly", "warning", "chat", "offered_rps is 5.6", NOW - 10000, NOW - 9000),
    )  # fmt: skip
    for alert in found:
        history.record_alert(alert, alert.starts_at)
    history.add_silence(
        Silence(NOW - 3600, NOW + 7200, "ines", f"fan is replaced at noon {wrote}", target="code")
    )


def _agents(history: History) -> None:
    history.release_agent(
        AgentRelease(
            NOW - 20 * HOUR_S, "chat", "ppo-v2+chat.3", "ppo-v2", "9f2c" * 16, "/var/lib/agent",
            "better on systems like this one", 0.061, 0.094, 32,
        )
    )  # fmt: skip
    checks = [
        ModelCheck(NOW - n * HOUR_S, figure, told * (1 + 0.1 * math.sin(n)), told)
        for n in range(8, 0, -1)
        for figure, told in (("ttft_s", 0.41), ("tpot_s", 0.043), ("attainment", 0.86))
    ]
    late = ModelCheck(NOW - 60, "effect", 0.11, math.nan, experiment="exp-000101")
    history.record_model_checks("chat", [*checks, late])


def _learning(history: History, wrote: str) -> None:
    first, second = NOW - 50 * HOUR_S, NOW - 26 * HOUR_S
    history.record_intake(
        Intake("chat", first, "monday.jsonl", "9f2c" * 16, 1, 400, 173, 23, 204, seconds=0.07)
    )
    history.record_intake(
        Intake("chat", second, f"{wrote}.jsonl", "77aa" * 16, refused=f"line 3: {wrote}")
    )
    tune = FineTune("chat", "v1-20260920T040000", BASE, (1,), first, first)
    history.record_fine_tune(
        replace(
            tune, stage=Stage.OFFERED, examples=142, attempts=1, seconds=131.0, update_s=1.8,
            scores=Scores(3.41, 2.97, agreement_before=0.41, agreement_after=0.45, pairing=0.8),
            reason="a live test is asked for", experiment_id="exp-000123",
        )
    )  # fmt: skip
    later = FineTune("chat", "v2-20260921T040000", tune.name, (2,), second, second)
    history.record_fine_tune(
        replace(
            later, stage=Stage.REFUSED, examples=96, replayed=40,
            scores=Scores(3.2, 3.3, 2.97, 3.05), reason=f"the held-out loss rose {wrote}",
        )
    )  # fmt: skip


def _decisions(history: History, wrote: str) -> None:
    for n in range(40):
        history.record_decision(
            "chat", "CONTINUE" if n % 4 else "HOLD", f"slot {n} counts", at=NOW - 400 + 10 * n,
            experiment_id="exp-000123",
        )  # fmt: skip
    chosen = history.record_decision(
        "chat", "ROLLBACK", f"asked by ines {wrote}", at=NOW - 9, generation=7,
        settings=Settings(CODE_KNOBS),
    )  # fmt: skip
    history.decision_done(chosen, DecisionOutcome.APPLIED, NOW - 8, generation=8)
