"""What the daemon does for a model that learns: begins runs when they are due, settles verdicts.

A run is a process of its own, at the lowest priority: that it crashes, or needs more memory than
there is, is nothing to the daemon. Knows no torch.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import DEVNULL, Popen
from typing import Any, Protocol

import structlog

from autotuner.config import LearnConfig
from autotuner.fine_tuning_gauges import FineTuningGauges
from autotuner.finetune.places import Places
from autotuner.finetune.promotion import settled
from autotuner.finetune.schedule import is_due
from autotuner.history.store import History

log = structlog.get_logger()

TEND_EVERY_S = 10.0
# Chosen: a run that ended in the middle is gone on with so much later, or something is broken.
RESUME_AFTER_S = 60.0
FRESH_S = 60.0  # chosen: what a run said longer ago is no reading any more
SERIES = "gradient_update_s"
_MOST = 1000  # chosen: rows that are counted; a year of three a day


class Child(Protocol):
    """A run as a process."""

    def poll(self) -> int | None: ...
    def terminate(self) -> None: ...


def run_command(config_file: Path) -> tuple[str, ...]:
    """Starts a run that ends, to be resumed, when who started it is gone."""
    return (
        sys.executable, "-m", "autotuner", "learn", "run", "-c", str(config_file), "--with-parent",
    )  # fmt: skip


def started(config_file: Path) -> Child:
    """A run as a child; what it has to say goes to the daemon's error stream."""
    return Popen(run_command(config_file), stdin=DEVNULL, stdout=DEVNULL)  # noqa: S603


@dataclass
class Tending:
    """One target's runs. `tend` is called every TEND_EVERY_S, `readings` in every cycle."""

    history: History
    target: str
    wanted: LearnConfig
    start: Callable[[], Child]
    gauges: FineTuningGauges
    _child: Child | None = field(init=False, default=None)
    _began: float = field(init=False, default=0.0)

    def __post_init__(self) -> None:
        self.places = Places.of(self.wanted)

    def tend(self, now: float) -> None:
        """Raises HistoryError; asked again, it goes on."""
        settled(self.history, self.target, now)
        self._show(now)
        if self._child is not None and self._still_runs(self._child, now):
            return
        if self._wanted(now):
            self._begin(now)

    def readings(self, now: float) -> Mapping[str, float]:
        """What the training that is under way says of itself, by series; else nothing."""
        told = self._told(now)
        return {SERIES: float(told[SERIES])} if SERIES in told else {}

    def _told(self, now: float) -> Mapping[str, Any]:
        told = self.places.progress()
        return told if now - float(told.get("at", 0.0)) < FRESH_S else {}

    def _show(self, now: float) -> None:
        self.gauges.running(self.target, self._told(now))
        tunes = self.history.fine_tunes(self.target, _MOST)
        self.gauges.known(self.target, tunes, self.history.intakes(self.target, _MOST))

    def _still_runs(self, child: Child, now: float) -> bool:
        code = child.poll()
        if code is None:
            if now - self._began > self.wanted.time_limit_s:
                log.warning("learn.too_long", target=self.target, limit_s=self.wanted.time_limit_s)
                child.terminate()
            return True
        self._child = None
        level = log.info if code == 0 else log.warning
        level("learn.ended", target=self.target, code=code)
        return False

    def _wanted(self, now: float) -> bool:
        """Whether it is time, or an earlier run left something unfinished."""
        begun = self.places.begun()
        if begun is None:  # the first start: from the next time on
            self.places.note_begun(now)
            return False
        if is_due(self.wanted.at, begun, now):
            self.places.note_begun(now)
            return True
        unfinished = any(tune.unfinished for tune in self.history.fine_tunes(self.target))
        return unfinished and now - self._began > RESUME_AFTER_S

    def _begin(self, now: float) -> None:
        self._began = now
        if self.places.is_locked():
            log.info("learn.busy", target=self.target, folder=str(self.places.folder))
            return
        self._child = self.start()
        log.info("learn.began", target=self.target)
