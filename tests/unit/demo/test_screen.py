"""What the demo shows: one frame on a terminal, one line in a file."""

from __future__ import annotations

import io
import math

from rich.console import Console

from autotuner.demo.screen import Scene, Screen, frame, plain, sparkline
from autotuner.domain.experiment import Arm, Experiment, Look, Phase, Plan, Slot
from autotuner.domain.knobs import Settings
from autotuner.domain.slo import SLO

OLD, NEW = Settings({"tokens": 2048}), Settings({"tokens": 96})
TEST = Experiment(
    "e", "demo", OLD, NEW, Plan(), seed=1, started_at=0.0, proposer="ppo", phase=Phase.COUNTING,
    slots=(Slot(0, Arm.TREATMENT, 2, 10.0),),
    looks=(Look(3, 1.0, 0.0, 0.63, 0.4, -1.0, 1.0),),
)  # fmt: skip


def scene(experiment: Experiment | None) -> Scene:
    return Scene(
        elapsed_s=75.0, act="testing a candidate", rate_rps=2.0, slo=SLO(ttft_s=4.0),
        goodput=[0.5, 1.0, math.nan], attainment=math.nan, live="tokens=2048",
        experiment=experiment, word="slot 0 (treatment): counted 3 of 16 s",
    )  # fmt: skip


def text_of(shown: Scene) -> str:
    console = Console(file=io.StringIO(), width=110, force_terminal=False)
    console.print(frame(shown))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_a_frame_shows_arms_confidence_and_goodput() -> None:
    shown = text_of(scene(TEST))
    for word in ("01:15", "treatment ◀", "tokens=96", "63.0% of 95.0%", "TTFT ≤ 4 s", "+40.0"):
        assert word in shown


def test_a_frame_without_a_test_has_no_arms() -> None:
    assert "treatment" not in text_of(scene(None)).replace("slot 0 (treatment)", "")


def test_a_line_says_the_same_in_short() -> None:
    line = plain(scene(TEST))
    assert "confidence 63.0%" in line
    assert "attainment none yet" in line


def test_a_sparkline_stays_within_its_bars() -> None:
    assert sparkline([], 1.0) == "nothing yet"
    assert sparkline([0.0, 5.0], 1.0).startswith("▁█")


def test_a_file_gets_a_line_now_and_then() -> None:
    console = Console(file=io.StringIO(), width=300, force_terminal=False)
    with Screen(console) as screen:
        for _ in range(5):
            screen.show(scene(TEST))
    assert isinstance(console.file, io.StringIO)
    assert len(console.file.getvalue().splitlines()) == 1
