"""What the demo shows while it runs: the arms, the confidence as it rises, the goodput."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from autotuner.domain.experiment import Arm, Experiment
from autotuner.domain.slo import SLO

BARS = "▁▂▃▄▅▆▇█"
ARM_STYLE = {Arm.CONTROL: "yellow", Arm.TREATMENT: "cyan"}
PLAIN_EVERY_S = 10.0


@dataclass(frozen=True)
class Scene:
    """Everything that one frame shows. Goodput in requests per second, oldest first."""

    elapsed_s: float
    act: str
    rate_rps: float
    slo: SLO
    goodput: Sequence[float]
    attainment: float
    live: str
    experiment: Experiment | None
    word: str


class Screen:
    """A live picture on a terminal; a line now and then where the output is a file."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, refresh_per_second=4, transient=True)
        self._last_line_s = -math.inf
        self._last_said = ""

    def __enter__(self) -> Screen:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._console.is_terminal:
            self._live.stop()

    def show(self, scene: Scene) -> None:
        if self._console.is_terminal:
            self._live.update(frame(scene))
            return
        said = plain(scene)
        due = scene.elapsed_s - self._last_line_s >= PLAIN_EVERY_S
        if due and said != self._last_said:
            self._console.print(
                f"{clock(scene.elapsed_s)}  {said}", soft_wrap=True, highlight=False
            )
            self._last_line_s, self._last_said = scene.elapsed_s, said


def clock(seconds: float) -> str:
    return f"{int(seconds) // 60:02d}:{int(seconds) % 60:02d}"


def plain(scene: Scene) -> str:
    """One frame as one line."""
    parts = [scene.act, f"attainment {percent(scene.attainment)}"]
    if scene.goodput:
        parts.append(f"goodput {scene.goodput[-1]:.2f}/s")
    if scene.experiment is not None:
        looks, slot = scene.experiment.looks, scene.experiment.current_slot
        arm = f"{slot.arm} in {scene.experiment.phase}" if slot else "about to start"
        confidence = percent(looks[-1].confidence) if looks else "0%"
        parts.append(f"test: {arm}, {len(scene.experiment.pairs)} pairs, confidence {confidence}")
    return " | ".join([*parts, scene.word])


def frame(scene: Scene) -> RenderableType:
    """One frame as a panel."""
    head = Table.grid(padding=(0, 2))
    head.add_row("time", f"{clock(scene.elapsed_s)}  {scene.act}")
    head.add_row(
        "load", f"{scene.rate_rps:.2f} requests/s, open loop, one prompt in ten 1-2k tokens"
    )
    head.add_row("SLO", scene.slo.describe())
    head.add_row("live", scene.live)
    head.add_row("attainment", percent(scene.attainment))
    head.add_row("goodput", sparkline(scene.goodput, scene.rate_rps))
    parts: list[RenderableType] = [head]
    if scene.experiment is not None:
        parts += ["", test_view(scene.experiment)]
    parts += ["", Text(scene.word, style="dim")]
    return Panel(Group(*parts), title="autotuner demo", border_style="blue")


def test_view(experiment: Experiment) -> RenderableType:
    """The running test: both arms with their slots, and how sure it is by now."""
    table = Table(title=f"A/B test on live traffic ({experiment.proposer})", title_justify="left")
    for column in ("arm", "settings", "slots", "attainment", "goodput"):
        table.add_column(column)
    current = experiment.current_slot
    for arm in Arm:
        done = [s.outcome for s in experiment.slots if s.arm is arm and s.outcome]
        requests, good = sum(o.requests for o in done), sum(o.good for o in done)
        seconds = sum(o.counted_s for o in done)
        here = " ◀" if current is not None and current.arm is arm else ""
        table.add_row(
            Text(arm.value + here, style=ARM_STYLE[arm]),
            ", ".join(f"{k}={v}" for k, v in experiment.settings_of(arm).items()),
            str(len(done)),
            percent(good / requests) if requests else "",
            f"{good / seconds:.2f}/s" if seconds else "",
        )
    return Group(table, confidence_view(experiment))


def confidence_view(experiment: Experiment) -> RenderableType:
    look = experiment.looks[-1] if experiment.looks else None
    confidence = look.confidence if look else 0.0
    row = Table.grid(padding=(0, 1))
    bar = ProgressBar(total=1.0, completed=confidence, width=40)
    needed = percent(1 - experiment.plan.alpha)
    said = f"{percent(confidence)} of {needed} after {len(experiment.pairs)} pairs"
    row.add_row("confidence", bar, said)
    if look and math.isfinite(look.effect):
        row.add_row("effect", "", f"{look.effect * 100:+.1f} points of attainment")
    return row


def sparkline(values: Sequence[float], top: float) -> str:
    """The values as bars up to `top`, with the last one in figures."""
    if not values:
        return "nothing yet"
    heights = (min(max(v / top, 0.0), 1.0) if math.isfinite(v) else 0.0 for v in values)
    bars = "".join(BARS[round(h * (len(BARS) - 1))] for h in heights)
    return f"{bars} {values[-1]:.2f}/s"


def percent(share: float) -> str:
    return f"{share:.1%}" if math.isfinite(share) else "none yet"
