"""A daemon whose goal is energy per token, over a powercap tree whose counters go on meanwhile."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from autotuner.agent.replay_system import SimulatedSystem
from autotuner.agent.stepmodel import StepModel
from autotuner.bootstrap import Ends, assemble, build_daemon
from autotuner.config import Policy, parse_config, parse_policy
from autotuner.daemon import Daemon
from autotuner.domain.errors import ConfigError
from autotuner.domain.experiment import Verdict
from autotuner.domain.knobs import Settings
from autotuner.domain.telemetry import Snapshot
from autotuner.forecast.service import Forecaster, ForecastSettings
from autotuner.history.store import History, open_history
from autotuner.instruments import Instruments
from autotuner.metrics.joined import JoinedSource
from autotuner.metrics.rapl import RaplSource
from autotuner.replay import SimulatedTarget
from autotuner.report.words import words
from tests.contract.metrics.powercap import Tree, two_sockets
from tests.integration.daemon.loop import MIX, START

LARGE, SMALL = (
    Settings({"max_num_seqs": seqs, "max_num_batched_tokens": 512}) for seqs in (32, 16)
)
CYCLE_S = 4.0
DATA: dict[str, Any] = {
    "name": "thrifty",
    "slo": {"ttft_s": 5.0, "gap_max_s": 2.0},
    "goal": {"kind": "energy_per_token", "attainment": 0.9, "margin": 0.05},
    "knobs": {
        "max_num_seqs": {"levels": [16, 32]},
        "max_num_batched_tokens": {"levels": [512]},
    },
    "experiment": {
        "slot_s": 40, "washout_min_s": 2, "washout_max_s": 20, "cooldown_s": 5, "max_pairs": 25,
        "min_requests_per_slot": 10,
    },
    "proposer": {
        "kind": "hill-climb", "observe_s": 60, "min_requests": 30, "pause_s": 3600,
        "retry_s": 3600,
    },
}  # fmt: skip


@dataclass
class House:
    """A simulated server, the two sockets that it runs on, and the daemon over them."""

    tree: Tree
    target: SimulatedTarget
    daemon: Daemon
    history: History
    instruments: Instruments
    policy: Policy
    now: float = START
    joules: float = 0.0  # since the daemon first looked

    def cycle(self) -> str:
        """A socket draws more the larger the batch may be; memory draws what it draws."""
        seqs = int(self.target.read_settings().settings["max_num_seqs"])
        watts = {"intel-rapl:0": 40.0 + 2 * seqs, "intel-rapl:1": 20.0, "intel-rapl:1:2": 5.0}
        for zone, drawn_w in watts.items():
            self.tree.add(zone, drawn_w * CYCLE_S)
        self.joules += math.fsum(watts.values()) * CYCLE_S if self.now > START else 0.0
        self.now += CYCLE_S
        self.target.advance(self.now, self.policy.slo.to_domain())
        return self.daemon.run_cycle(self.now)

    def metric(self, name: str, **labels: str) -> float:
        value = self.instruments.registry.get_sample_value(
            f"autotuner_energy_{name}", {"target": "t", **labels}
        )
        return math.nan if value is None else value


class Serving:
    """The server's own metrics, with the tokens that it generated."""

    def __init__(self, target: SimulatedTarget) -> None:
        self._target, self._cursor, self._tokens = target, 0, 0

    def snapshot(self) -> Snapshot:
        seen, log = self._target.snapshot(), self._target.exposures(self._cursor)
        self._cursor = log.next
        self._tokens += sum(ended.output_tokens for ended in log.exposures)
        tokens = {"generation_tokens": float(self._tokens)}
        return replace(seen, counters={**seen.counters, **tokens})


def house(folder: Path, **changes: Any) -> House:
    tree = two_sockets(folder / "powercap")
    policy = parse_policy({**DATA, **changes})
    model = StepModel(t0_s=6e-3, decode_s=0.45e-3, prefill_s=0.42e-3, context_s=4e-6, noise=0.05)
    system = SimulatedSystem(model, lambda _: 3.0, MIX, LARGE, seed=3, start_s=START)
    target = SimulatedTarget(system, policy.space(), LARGE)
    history = open_history(f"sqlite:///{folder / 'history.sqlite3'}")
    cpu = {"cpu": RaplSource(tree.root)}
    metrics = JoinedSource(Serving(target), cpu, retry_s=0.0, metered=("cpu",))
    instruments, forecaster = Instruments(), Forecaster(ForecastSettings(use_prophet=False))
    ends = Ends(target, metrics, stale_s=1e9)
    daemon = assemble("t", "simulated:", policy, history, instruments, ends, forecaster)
    return House(tree, target, daemon, history, instruments, policy)


def test_settings_that_take_less_energy_for_a_token_are_proven_and_kept(tmp_path: Path) -> None:
    home = house(tmp_path)
    for _ in range(2000):
        home.cycle()
        if any(one.verdict for one in home.history.experiments()):
            break
    (summary,) = home.history.experiments()
    assert (summary.verdict, summary.outcome) == (Verdict.ACCEPTED, "energy_per_token")
    # 129 W against 97 W over the same tokens.
    assert summary.effect == pytest.approx(math.log(129 / 97), abs=0.12)
    assert Settings(home.target.read_settings().settings) == SMALL

    test = home.history.experiment(summary.id)
    assert test is not None
    told = [slot.outcome.energy_j for slot in test.slots if slot.outcome is not None]
    assert all(joules > 0 for joules in told)
    assert words(test, home.now).happened.startswith("Energy per generated token fell by")

    assert home.metric("joules_total", source="rapl") == pytest.approx(home.joules, rel=1e-6)
    recent = home.metric("joules_per_token")
    assert recent == pytest.approx(97 / (3 * 40), rel=0.5)  # watts over tokens a second
    assert home.metric("joules_per_request") == pytest.approx(40 * recent, rel=0.5)


def test_while_a_socket_is_not_told_no_test_is_begun_and_it_says_why(tmp_path: Path) -> None:
    home = house(tmp_path)
    home.cycle()
    counter = home.tree.root / "intel-rapl:1" / "energy_uj"
    counter.rename(counter.with_name("hidden"))
    said = []
    for _ in range(60):
        # The tree goes on under the other sockets alone.
        home.tree.add("intel-rapl:0", 1.0)
        home.now += CYCLE_S
        home.target.advance(home.now, home.policy.slo.to_domain())
        said.append(home.daemon.run_cycle(home.now))
    assert home.history.experiments() == []
    assert any(
        "the outcome energy_per_token can't pass: energy is not known: cpu did not tell it" in one
        for one in said
    )
    assert math.isnan(home.metric("joules_per_token"))


def configured(folder: Path, root: Path | None, policy: dict[str, Any]) -> Daemon:
    """The daemon as the configuration builds it; the policy stands in a file."""
    path = folder / "policy.yaml"
    path.write_text(yaml.safe_dump(policy))
    metrics = {} if root is None else {"rapl": str(root)}
    config = parse_config(
        {"targets": [
            {"name": "t", "url": "http://127.0.0.1:9", "policy": str(path), "metrics": metrics}
        ]}
    )  # fmt: skip
    history = open_history(f"sqlite:///{folder / 'history.sqlite3'}")
    return build_daemon(config, config.targets[0], parse_policy(policy), history, Instruments(), ())


def test_a_goal_that_nobody_measures_is_refused_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"goal.kind='energy_per_token', but no source of energy"):
        configured(tmp_path, None, DATA)
    empty = tmp_path / "none"
    with pytest.raises(ConfigError, match=r"targets\.t: .*none has no package domain"):
        configured(tmp_path, empty, DATA)
    two_sockets(empty)
    assert configured(tmp_path, empty, DATA).name == "t"


def test_a_guardrail_that_nobody_measures_is_told_and_lets_the_daemon_start(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rails = {"guardrails": [{"measure": "energy_per_token", "margin": 0.1}]}
    guarded = {**DATA, "goal": {}, "experiment": {**DATA["experiment"], **rails}}
    assert configured(tmp_path, None, guarded).name == "t"
    assert "can't pass, so that no change can be accepted" in capsys.readouterr().out
