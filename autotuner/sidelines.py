"""What a running test is told besides its requests: probes, users' scores, hardware gauges."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from autotuner.abtest.outcome import needs_probe
from autotuner.abtest.readings import GAUGES
from autotuner.domain.errors import TargetError
from autotuner.domain.experiment import Experiment, Phase, Plan, Slot
from autotuner.domain.ports import FeedbackSource, LiveSettings
from autotuner.domain.telemetry import FeedbackScore, GoldenBlock, ProbeReading, Reading, Snapshot
from autotuner.probing import Probing


@dataclass(frozen=True)
class Seen:
    """All since the running test's first slot, in order of time; the reading before it too."""

    probes: tuple[ProbeReading, ...] = ()
    feedback: tuple[FeedbackScore, ...] = ()
    readings: tuple[Reading, ...] = ()


class Sidelines:
    """Keeps them between cycles. What a target does not have, or fails to tell, is not there."""

    def __init__(self, probing: Probing | None = None, feedback: FeedbackSource | None = None):
        self._probing, self._feedback = probing, feedback
        self._cursor = 0
        self._probes: deque[ProbeReading] = deque()
        self._scores: deque[FeedbackScore] = deque()
        self._readings: deque[Reading] = deque()

    def rebooted(self) -> None:
        """The target's own log of scores begins anew."""
        self._cursor = 0

    def look(
        self, experiment: Experiment | None, live: LiveSettings, snapshot: Snapshot | None
    ) -> Seen:
        """What is known now; `snapshot`: this cycle's scrape, None where there was none.

        Never raises for a target that does not answer; never waits for a probe.
        """
        began = experiment.slots[0].started_at if experiment and experiment.slots else live.now
        self._read_gauges(live, snapshot)
        if experiment is not None:
            self._read_scores()
            self._ask_for_probes(experiment, live)
        if self._probing is not None:
            self._probes.extend(self._probing.take())
        self._forget_before(began)
        if experiment is None:
            return Seen()
        return Seen(tuple(self._probes), tuple(self._scores), tuple(self._readings))

    def _read_gauges(self, live: LiveSettings, snapshot: Snapshot | None) -> None:
        if snapshot is None:
            return
        told = {**snapshot.counters, **snapshot.gauges}
        gauges = {name: told[name] for name in GAUGES if name in told}
        if gauges or snapshot.energy:
            # The scrape came just after the settings were read, whose time is the target's own.
            self._readings.append(Reading(live.now, gauges, snapshot.energy))

    def _read_scores(self) -> None:
        if self._feedback is None:
            return
        try:
            scores, self._cursor = self._feedback.feedback(self._cursor)
        except TargetError:
            return  # asked again in the next cycle, from the same place
        self._scores.extend(scores)

    def _ask_for_probes(self, experiment: Experiment, live: LiveSettings) -> None:
        slot = experiment.current_slot
        if (
            self._probing is not None
            and slot is not None
            and experiment.phase is Phase.COUNTING
            and slot.excluded is None
            and slot.generation == live.generation
            and needs_probe(experiment.plan)
        ):
            self._probing.want(slot.generation, slot.lanes, _block(experiment.plan, slot))

    def _forget_before(self, began: float) -> None:
        while self._probes and self._probes[0].at < began:
            self._probes.popleft()
        while self._scores and self._scores[0].at < began:
            self._scores.popleft()
        # The last reading before the test says where its counters and its first power stood.
        while len(self._readings) > 1 and self._readings[1].at <= began:
            self._readings.popleft()


def _block(plan: Plan, slot: Slot) -> GoldenBlock | None:
    """The same answers for both arms of a pair, and others in the next: pairs then draw afresh."""
    if plan.probe_items == 0:
        return None
    return GoldenBlock(slot.pair * plan.probe_items, plan.probe_items)
