"""Probes and users' scores of a split target: each replica's, told as the whole target's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from autotuner.domain.ports import FeedbackSource, Prober
from autotuner.domain.telemetry import FeedbackScore, GoldenBlock, ProbeReading
from autotuner.targets.replicas import LANES, Cursors, lane_of
from autotuner.targets.split import SplitTarget


class LaneProber:
    """Implements `domain.ports.Prober`: the first replica of each lane in turn.

    Two probes that follow each other are of both lanes; one that failed is that lane's turn again.
    `probers`: one per replica of `target`, in its order.
    """

    def __init__(self, target: SplitTarget, probers: Sequence[Prober]) -> None:
        self._target, self._probers = target, tuple(probers[:LANES])
        self._turn = 0

    def probe(self, block: GoldenBlock | None = None) -> ProbeReading:
        at = self._turn
        seen = self._probers[at].probe(block)
        self._turn = (at + 1) % LANES
        return replace(
            seen,
            at=self._target.on_first_clock(seen.at, at),
            generation=self._target.generation_of(at, seen.generation),
            lane=lane_of(at),
        )


class MergedFeedback:
    """Implements `domain.ports.FeedbackSource` over one source per replica of `target`."""

    def __init__(self, target: SplitTarget, sources: Sequence[FeedbackSource]) -> None:
        self._target, self._sources = target, tuple(sources)
        self._cursors = Cursors(len(sources))

    def feedback(self, after: int) -> tuple[Sequence[FeedbackScore], int]:
        """The scores after the cursor in order of time; 0 at first and after a restart."""
        own = zip(self._sources, self._cursors.apart(after), strict=True)
        pages = [source.feedback(cursor) for source, cursor in own]
        scores = [
            replace(score, at=self._target.on_first_clock(score.at, at))
            for at, (page, _) in enumerate(pages)
            for score in page
        ]
        return sorted(scores, key=lambda score: score.at), self._cursors.joined(
            [end for _, end in pages]
        )
