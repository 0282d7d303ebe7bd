"""Agents trained further in a process of their own: released, refused, taken up, and killed."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np
import pytest

from autotuner.agent import lived
from autotuner.agent.artifact import AgentArtifact, AgentCard, expected_shapes, load, save
from autotuner.agent.features import FEATURES
from autotuner.agent.lived import Moment
from autotuner.agent.schedule import AGENT_KNOBS
from autotuner.agent.stepmodel import StepModel
from autotuner.domain.errors import AgentError
from autotuner.domain.knobs import Knob, KnobSpace, Settings
from autotuner.domain.learning import AgentRelease, ModelCheck
from autotuner.domain.ports import Proposal, ProposalContext, Workload
from autotuner.domain.slo import SLO
from autotuner.history.store import History, open_history
from autotuner.improvement import ImproveOptions, improve, improve_if_due
from autotuner.released import ReleasedProposer, in_use

T = TypeVar("T")
NOW = 1767571200.0
SPACE = KnobSpace(
    (
        Knob("max_num_seqs", (2, 4, 8, 16, 32, 64)),
        Knob("max_num_batched_tokens", (32, 64, 128, 256, 512, 1024, 2048)),
    )
)
MOMENT = Moment(
    NOW, {"max_num_seqs": 32}, StepModel(6e-3, 0.45e-3, 0.42e-3, 4e-6, noise=0.08), (0.05,) * 5,
    3.0, ((100.0, 30.0, 0.8), (1000.0, 30.0, 0.2)),
)  # fmt: skip
INCUMBENT = Settings({"max_num_seqs": 32, "max_num_batched_tokens": 512})
CONTEXT = ProposalContext(SPACE, INCUMBENT, SLO(ttft_s=1.5), Workload(3.0), None, 0.5)


@dataclass
class Named:
    """Tells which agent it was built of."""

    agent: Path

    def propose(self, context: ProposalContext) -> Proposal | None:
        return Proposal(context.incumbent, "named", str(self.agent))


@pytest.fixture
def history(tmp_path: Path) -> History:
    opened = open_history(f"sqlite:///{tmp_path / 'history.sqlite3'}")
    opened.record_target("t", kind="worker", url="x:", at=NOW)
    return opened


@pytest.fixture
def options(tmp_path: Path) -> ImproveOptions:
    rng, net = np.random.default_rng(0), (32, 32)
    shapes = expected_shapes(net)
    tensors = {k: (0.05 * rng.standard_normal(s)).astype(np.float32) for k, s in shapes.items()}
    base = tmp_path / "base"
    save(AgentArtifact(AgentCard("base", FEATURES, AGENT_KNOBS, net, 0, 0, ""), tensors), base)
    made = ImproveOptions(
        "t", base, tmp_path / "learning" / "t", SPACE, SLO(ttft_s=1.5, gap_max_s=0.12),
        steps=20_000, systems=60, time_limit_s=300.0, min_checks=3, learning_rate=1e-3,
    )  # fmt: skip
    lived.keep(made.moments, MOMENT)
    return made


def test_a_better_agent_is_released_and_taken_up_at_the_next_proposal(
    history: History, options: ImproveOptions
) -> None:
    proposer = ReleasedProposer(history, "t", options.base, Named)
    first = proposer.propose(CONTEXT)
    assert first is not None
    assert first.reason == str(options.base)

    done = improve(history, options, NOW)
    assert done.release is not None, done.sentence
    release = history.current_agent("t")
    assert release == done.release
    assert release.parent == "base"
    assert release.score < release.before
    assert load(Path(release.path)).card.name == release.version
    assert in_use(history, "t", options.base) == Path(release.path)
    second = proposer.propose(CONTEXT)
    assert second is not None
    assert second.reason == release.path

    # The next try starts from it; a rate at which nothing is learnt gives nothing better.
    again = improve(history, replace(options, steps=1_000, learning_rate=1e-12), NOW + 60)
    assert "is refused: mean regret" in again.sentence
    assert again.comparison is not None
    assert again.comparison.before == pytest.approx(again.comparison.score, abs=1e-6)
    assert history.current_agent("t") == release
    assert not list(options.folder.glob(".trying-*"))


def test_a_dry_run_releases_nothing(history: History, options: ImproveOptions) -> None:
    done = improve(history, replace(options, steps=6_000), NOW, dry_run=True)
    assert done.comparison is not None
    assert ("would be released" in done.sentence) == done.comparison.better
    assert history.current_agent("t") is None
    assert not (options.folder / "agents").exists()


def test_a_training_that_takes_too_long_leaves_the_old_agent(
    history: History, options: ImproveOptions
) -> None:
    done = improve(history, replace(options, steps=10_000_000, time_limit_s=8.0), NOW)
    assert "timed out" in done.sentence
    assert in_use(history, "t", options.base) == options.base
    assert not list(options.folder.glob(".trying-*"))


def test_a_release_whose_file_is_gone_leaves_the_agent_before_it(
    history: History, options: ImproveOptions, tmp_path: Path
) -> None:
    def built(agent: Path) -> Named:
        load(agent)
        return Named(agent)

    proposer = ReleasedProposer(history, "t", options.base, built)
    gone = str(tmp_path / "gone")
    history.release_agent(AgentRelease(NOW, "t", "base-t-1", "base", "", gone, "a test"))
    proposal = proposer.propose(CONTEXT)
    assert proposal is not None
    assert proposal.reason == str(options.base)


def test_it_is_tried_when_due_and_only_with_enough_checks(
    history: History, options: ImproveOptions
) -> None:
    quick = replace(options, steps=10_000_000, time_limit_s=0.1)
    assert improve_if_due(history, quick, NOW) is None
    history.record_model_checks("t", [ModelCheck(NOW - 5, "ttft_s", 1.0, 1.0)] * 3)
    assert improve_if_due(history, quick, NOW) is not None
    assert improve_if_due(history, quick, NOW + 3600) is None
    assert improve_if_due(history, quick, NOW + 86_401) is not None


def test_without_a_past_there_is_nothing_to_learn(
    history: History, options: ImproveOptions
) -> None:
    options.moments.unlink()
    with pytest.raises(AgentError, match="nothing to learn from yet"):
        improve(history, options, NOW)


PROGRAM = """
import sys
from pathlib import Path
from dataclasses import replace
from autotuner.history.store import open_history
from tests.integration.learning.test_improvement import SPACE, NOW
from autotuner.improvement import ImproveOptions, improve
from autotuner.domain.slo import SLO
folder = Path(sys.argv[1])
options = ImproveOptions("t", folder / "base", folder / "learning" / "t", SPACE,
    SLO(ttft_s=1.5, gap_max_s=0.12), steps=50_000_000, systems=60, time_limit_s=600.0)
improve(open_history(f"sqlite:///{folder / 'history.sqlite3'}"), options, NOW)
"""


@pytest.mark.process
def test_kill_9_in_the_middle_leaves_the_old_agent_in_use(
    history: History, options: ImproveOptions, tmp_path: Path
) -> None:
    child = subprocess.Popen([sys.executable, "-c", textwrap.dedent(PROGRAM), str(tmp_path)])
    try:
        _until(lambda: bool(list(options.folder.glob(".trying-*"))))
        trainers = _until(lambda: _children_of(child.pid))
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait()
    assert history.current_agent("t") is None
    assert in_use(history, "t", options.base) == options.base
    _until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in trainers))
    improve(history, replace(options, time_limit_s=0.1), NOW + 60)
    assert not list(options.folder.glob(".trying-*"))


def _children_of(pid: int) -> list[int]:
    listed = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(one) for one in listed.read_text().split()] if listed.exists() else []


def _until(attempt: Callable[[], T], within_s: float = 120.0) -> T:
    end = time.monotonic() + within_s
    while time.monotonic() < end:
        found = attempt()
        if found:
            return found
        time.sleep(0.1)
    raise AssertionError("it did not come to pass")
