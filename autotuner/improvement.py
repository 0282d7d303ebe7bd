"""Improves a target's agent from its history: trains in a process of its own, releases if better.

The history says which agent is in use, and it is told last: whatever ends this in the middle leaves
the old agent in use.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import structlog

from autotuner.agent import lived
from autotuner.agent.artifact import load, paths
from autotuner.agent.finetune import Comparison
from autotuner.agent.finetune_job import COMMAND, GENTLE_RATE, Request, answer
from autotuner.domain.errors import AgentError
from autotuner.domain.knobs import KnobSpace
from autotuner.domain.learning import AgentRelease
from autotuner.domain.slo import SLO
from autotuner.forecast.child import ChildError, run_limited
from autotuner.history.store import History
from autotuner.released import in_use

log = structlog.get_logger()

_TRYING = ".trying-"
_CHECKS_BACK_S = 7 * 86400.0


@dataclass(frozen=True)
class ImproveOptions:
    """`base`: the policy's agent (a path). `folder`: the target's own, for moments and agents."""

    target: str
    base: Path
    folder: Path
    space: KnobSpace
    slo: SLO
    steps: int = 300_000
    systems: int = 200
    time_limit_s: float = 1800.0
    every_s: float = 86400.0
    min_checks: int = 60
    learning_rate: float = GENTLE_RATE

    @property
    def moments(self) -> Path:
        return moments_path(self.folder)


@dataclass(frozen=True)
class Improvement:
    """What became of a try, in a sentence; `release` where a better agent is in use now."""

    sentence: str
    comparison: Comparison | None = None
    release: AgentRelease | None = None


def moments_path(folder: Path) -> Path:
    """Where a target's folder keeps how it lived."""
    return folder / "lived.json"


def improve_if_due(history: History, options: ImproveOptions, now: float) -> Improvement | None:
    """A try where the last one is long enough ago and enough was checked; None where not."""
    tried = options.folder / "tried"
    with suppress(OSError, ValueError):
        if now - float(tried.read_text(encoding="utf-8")) < options.every_s:
            return None
    checks = history.model_checks(options.target, since=now - _CHECKS_BACK_S)
    if len(checks) < options.min_checks:
        return None
    options.folder.mkdir(parents=True, exist_ok=True)
    tried.write_text(f"{now:.0f}", encoding="utf-8")
    return improve(history, options, now)


def improve(
    history: History, options: ImproveOptions, now: float, *, dry_run: bool = False
) -> Improvement:
    """Trains the agent in use further and releases the result if it is better; logs either.

    Raises AgentError where there is nothing to learn from, or the folder can't be used.
    """
    moments = lived.read(options.moments)
    if not moments:
        raise AgentError(
            f"target {options.target}: nothing to learn from yet: the daemon writes "
            f"{options.moments} at its first calibration"
        )
    start = in_use(history, options.target, options.base)
    name = _version(load(options.base).card.name, options.target, now)
    with _workplace(options.folder) as work:
        request = Request(
            agent=start,
            out=Path(work) / name,
            name=name,
            moments=moments,
            space=options.space,
            slo=options.slo,
            steps=options.steps,
            seed=int(now) % 2**31,
            systems=options.systems,
            trained_on=datetime.fromtimestamp(now, UTC).date().isoformat(),
            learning_rate=options.learning_rate,
            asked_by=os.getpid(),
        )
        try:
            found = answer(run_limited(COMMAND, request.as_json(), options.time_limit_s))
        except (TimeoutError, ChildError, OSError, ValueError) as problem:
            return _told(options, Improvement(f"the training failed: {problem}"))
        return _told(options, _judged(history, options, request, found, now, dry_run))


def _judged(
    history: History,
    options: ImproveOptions,
    request: Request,
    found: Comparison,
    now: float,
    dry_run: bool,
) -> Improvement:
    scores = (
        f"mean regret {found.score:.4f} against {found.before:.4f} on {found.systems} held-out "
        f"systems, better by at least {found.bound:+.4f} with 95% confidence"
    )
    if not found.better:
        return Improvement(f"{request.name} is refused: {scores}", found)
    if dry_run:
        return Improvement(f"{request.name} would be released: {scores}", found)
    release = AgentRelease(
        at=now,
        target=options.target,
        version=request.name,
        parent=load(request.agent).card.name,
        digest=_digest(request.out),
        path=str(_published(request.out, options.folder / "agents")),
        reason=scores,
        score=found.score,
        before=found.before,
        systems=found.systems,
    )
    history.release_agent(release)
    return Improvement(f"{request.name} is in use from now on: {scores}", found, release)


def _told(options: ImproveOptions, done: Improvement) -> Improvement:
    log.info("agent.improved", target=options.target, result=done.sentence)
    return done


def _version(base: str, target: str, now: float) -> str:
    return f"{base}-{target}-{datetime.fromtimestamp(now, UTC):%Y%m%dT%H%M%S}"


def _workplace(folder: Path) -> tempfile.TemporaryDirectory[str]:
    """A folder for one try; what tries left that were killed is cleared away."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for left in folder.glob(f"{_TRYING}*"):
            shutil.rmtree(left, ignore_errors=True)
        return tempfile.TemporaryDirectory(prefix=_TRYING, dir=folder)
    except OSError as problem:
        raise AgentError(
            f"{folder}: can't be written ({problem.strerror}); give another state_folder"
        ) from problem


def _published(made: Path, folder: Path) -> Path:
    """Both files of an agent in `folder`, whole and on the disk; returns the path without suffix.

    Raises AgentError where they can't be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for source in paths(made):
            with source.open("rb") as written:
                os.fsync(written.fileno())
            source.replace(folder / source.name)
    except OSError as problem:
        raise AgentError(f"{folder}: can't be written: {problem.strerror}") from problem
    return folder / made.name


def _digest(path: Path) -> str:
    return hashlib.sha256(paths(path)[0].read_bytes()).hexdigest()
