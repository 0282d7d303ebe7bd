"""A request for a test, followed through the history until there is a verdict."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from autotuner.domain.experiment import Experiment, Look, Verdict
from autotuner.domain.measures import measure
from autotuner.domain.mode import Mode
from autotuner.history.records import Control, Heartbeat
from autotuner.history.store import History
from autotuner.report.numbers import gain_text

POLL_S = 1.0
# Chosen: a cycle may take this long when the target answers late or answers are probed.
FRESH_S = 60.0
FRESH_CYCLES = 5
# Chosen: a daemon that is started together with the wait gives its first sign within this.
START_S = 60.0


@dataclass(frozen=True)
class Seen:
    """What the history says of a request at one moment."""

    request: Control
    experiment: Experiment | None = None
    beat: Heartbeat | None = None

    @property
    def ended(self) -> bool:
        """Refused, withdrawn, or tested to a verdict."""
        if self.experiment is not None:
            return not self.experiment.running
        return not self.request.waits


@dataclass(frozen=True)
class Waiter:
    """How a wait passes its time: both in seconds, `now` since the epoch."""

    now: Callable[[], float] = time.time
    sleep: Callable[[float], None] = time.sleep


@dataclass(frozen=True)
class Daemon:
    """What the configuration says of the daemon that should run: how often it gives a sign."""

    cycle_s: float
    command: str

    def absence(self, target: str, beat: Heartbeat | None, now: float) -> str | None:
        """That no daemon works on `target`, with the fix; None where one does."""
        if beat is None:
            return f"no daemon has run on {target} yet: start one with `{self.command}`"
        silent_s = now - beat.at
        if silent_s <= max(FRESH_S, FRESH_CYCLES * self.cycle_s):
            return None
        return (
            f"no daemon has given a sign on {target} for {silent_s:.0f} s: "
            f"start one with `{self.command}`"
        )


def idleness(beat: Heartbeat | None) -> str | None:
    """Why a daemon that is alive starts no test, with the fix."""
    if beat is None or beat.mode is Mode.ACTIVE:
        return None
    return f"the daemon is {beat.mode}: `autotuner resume` lets it start tests"


def look_at(history: History, request_id: int) -> Seen:
    """The request, which must exist, with its test and the daemon's last word."""
    request = history.control(request_id)
    assert request is not None, "requests are never deleted"
    known = request.experiment_id
    return Seen(
        request=request,
        experiment=None if known is None else history.experiment(known),
        beat=history.status(request.target).heartbeat,
    )


def follow(
    history: History, request_id: int, daemon: Daemon, say: Callable[[str], None], waiter: Waiter
) -> tuple[Seen, str | None]:
    """Waits for the end, saying what changes; or until no daemon is there, with that sentence.

    One that is missing at first may still be starting: it has START_S for that.
    """
    before: Seen | None = None
    patient_until = waiter.now() + START_S
    while True:
        seen = look_at(history, request_id)
        for sentence in progress(before, seen):
            say(sentence)
        if seen.ended:
            return seen, None
        now = waiter.now()
        absent = daemon.absence(seen.request.target, seen.beat, now)
        if absent is not None and now >= patient_until:
            return seen, absent
        before = seen
        waiter.sleep(POLL_S)


def progress(before: Seen | None, seen: Seen) -> Iterator[str]:
    """What is new since `before`, a sentence each."""
    request, experiment = seen.request, seen.experiment
    if request.waits:
        yield from _waiting(before, seen)
        return
    if experiment is None:
        yield f"request {request.id} was not run: {request.result or 'no reason was recorded'}"
        return
    known = before.experiment if before is not None else None
    if known is None:
        yield f"experiment {experiment.id} has started: {experiment.plan.max_pairs} pairs at most"
    for look in experiment.looks[len(known.looks) if known else 0 :]:
        yield look_words(experiment, look)
    if experiment.conclusion is not None:
        yield f"{experiment.conclusion.verdict}: {experiment.conclusion.reason}"


def _waiting(before: Seen | None, seen: Seen) -> Iterator[str]:
    if before is None:
        yield f"request {seen.request.id} waits for the daemon"
    last = before.beat if before is not None else None
    if seen.beat is not None and (last is None or _gist(last) != _gist(seen.beat)):
        yield f"the daemon says: {seen.beat.sentence}"


def _gist(beat: Heartbeat) -> str:
    """The sentence without its figures, which change each cycle."""
    return re.sub(r"[0-9.]+", "#", beat.sentence)


def look_words(experiment: Experiment, look: Look) -> str:
    """What is known after a pair, such as `pair 3: +4.1 points, 71.2% confidence`."""
    told = gain_text(measure(experiment.plan.outcome), look.effect)
    return f"pair {look.pairs}: {told}, {look.confidence:.1%} confidence"


def succeeded(seen: Seen) -> bool:
    """Whether a script may go on: a candidate was accepted; an A/A claimed no difference."""
    experiment = seen.experiment
    if experiment is None or experiment.conclusion is None:
        return False
    verdict = experiment.conclusion.verdict
    if experiment.control == experiment.treatment:
        quiet = verdict in (Verdict.REJECTED, Verdict.INCONCLUSIVE)
        return quiet and experiment.conclusion.pairs > 0
    return verdict is Verdict.ACCEPTED
