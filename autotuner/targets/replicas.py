"""Numbers of several replicas as one target's: generations, boots, cursors, clocks. No I/O."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace

from autotuner.domain.ports import LiveSettings
from autotuner.targets.capabilities import (
    Accepted,
    Capabilities,
    Capability,
    Choices,
    FloatRange,
    IntRange,
)

LANES = 2
_KEPT_GENERATIONS = 4096  # chosen: more than an exposure log can still tell of
_KEPT_CURSORS = 256
_BEFORE_ALL = 0  # below every generation of a target


def lane_of(replica: int) -> int:
    """Replicas at even places are lane 0, those at odd places lane 1."""
    return replica % LANES


def joined_boots(lives: Sequence[LiveSettings]) -> str:
    """A boot id that is new as soon as one replica's is; `abtest.view` tells which one."""
    return "+".join(live.boot_id for live in lives)


class Generations:
    """The target's generation to each replica's own: the sum of all, which every apply raises.

    A replica's own generation keeps the first number that it was seen under. What ran before
    that, or in another boot of any replica, is older than everything: 0.
    """

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[int, int], int] = OrderedDict()
        self._boots = ""

    def note(self, lives: Sequence[LiveSettings]) -> int:
        """The target's generation while these run, remembered for what they will tell later."""
        boots = joined_boots(lives)
        if boots != self._boots:
            self._boots = boots
            self._known.clear()
        total = sum(live.generation for live in lives)
        for replica, live in enumerate(lives):
            self._known.setdefault((replica, live.generation), total)
        while len(self._known) > _KEPT_GENERATIONS:
            self._known.popitem(last=False)
        return total

    def of(self, replica: int, own: int) -> int:
        """The target's generation when `replica` was at its `own`."""
        return self._known.get((replica, own), _BEFORE_ALL)


class Cursors:
    """One integer in front of the replicas' own cursors into a log: their sum.

    It can be taken up again from 0 and from each of the last numbers that were handed out.
    """

    def __init__(self, replicas: int) -> None:
        self._start = (0,) * replicas
        self._known: OrderedDict[int, tuple[int, ...]] = OrderedDict()

    def apart(self, cursor: int) -> tuple[int, ...]:
        """Each replica's cursor. Raises ValueError for a number that was not handed out."""
        if cursor == 0:
            return self._start
        if cursor not in self._known:
            raise ValueError(f"after={cursor}: give 0, or the `next` of a batch read before")
        return self._known[cursor]

    def joined(self, own: Sequence[int]) -> int:
        """The cursor that stands for each replica's `own`."""
        cursor = sum(own)
        self._known[cursor] = tuple(own)
        self._known.move_to_end(cursor)
        while len(self._known) > _KEPT_CURSORS:
            self._known.popitem(last=False)
        return cursor


@dataclass(frozen=True)
class Asked:
    """A replica's answer, and when it was asked on the caller's own clock (mid-way, s)."""

    live: LiveSettings
    at: float


def clock_offsets(answers: Sequence[Asked]) -> tuple[float, ...]:
    """How far each replica's clock is ahead of the first one's, seconds.

    Wrong by half the time that an answer took, as with NTP's single exchange.
    """
    first = answers[0]
    return tuple((one.live.now - first.live.now) - (one.at - first.at) for one in answers)


def as_one(
    lives: Sequence[LiveSettings], offsets: Sequence[float], generation: int, told: int
) -> LiveSettings:
    """What runs on all of them, on the first one's clock, with the settings of replica `told`.

    The whole is restarting while one of them is; what a restart takes is that of the slowest.
    """
    timed = list(zip(lives, offsets, strict=True))
    faults = [
        replace(fault, at=fault.at - offset, id=f"{replica}:{fault.id}")
        for replica, (live, offset) in enumerate(timed)
        for fault in live.faults
    ]
    return replace(
        lives[told],
        generation=generation,
        boot_id=joined_boots(lives),
        applied_at=max(live.applied_at - offset for live, offset in timed),
        now=max(live.now - offset for live, offset in timed),
        rebuilding=next((live.rebuilding for live in lives if live.rebuilding is not None), None),
        restart_s=_slowest(lives),
        faults=tuple(sorted(faults, key=lambda fault: fault.at)),
    )


def _slowest(lives: Sequence[LiveSettings]) -> float:
    known = [live.restart_s for live in lives if math.isfinite(live.restart_s)]
    return max(known, default=math.nan)


def common_capabilities(offered: Sequence[Capabilities]) -> Capabilities:
    """What every replica can do: a knob that one of them lacks, or takes otherwise, is left out."""
    found: dict[str, Capability] = {}
    for name, capability in offered[0].items():
        shared: Capability | None = capability
        for others in offered[1:]:
            other = others.get(name)
            shared = None if shared is None or other is None else _both(shared, other)
        if shared is not None:
            found[name] = shared
    return found


def _both(one: Capability, other: Capability) -> Capability | None:
    accepted = _accepted_by_both(one.accepted, other.accepted)
    if accepted is None:
        return None
    live, changing = one.live and other.live, one.changes_answers or other.changes_answers
    return Capability(accepted, live, changing)


def _accepted_by_both(one: Accepted, other: Accepted) -> Accepted | None:
    if isinstance(one, FloatRange) and isinstance(other, FloatRange):
        low, high = max(one.least, other.least), min(one.greatest, other.greatest)
        return FloatRange(low, high) if low <= high else None
    if isinstance(one, IntRange) and isinstance(other, IntRange):
        least, greatest = max(one.least, other.least), min(one.greatest, other.greatest)
        return IntRange(least, greatest) if least <= greatest else None
    if isinstance(one, Choices) and isinstance(other, Choices):
        kept = tuple(value for value in one.values if other.accepts(value))
        return Choices(kept) if kept else None
    return None
