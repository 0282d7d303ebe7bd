"""Which versions of the examples a fine-tune is made of. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from autotuner.domain.fine_tuning import FineTune, Stage

_SPOILT = frozenset({Stage.REFUSED, Stage.ROLLED_BACK})


@dataclass(frozen=True)
class Choice:
    """`new`: to be learnt. `old`: what the weights in force have learnt, or their forebears."""

    new: tuple[int, ...]
    old: tuple[int, ...]

    @property
    def sound(self) -> tuple[int, ...]:
        """All that may be evaluated on: without versions that made weights worse."""
        return tuple(sorted((*self.new, *self.old)))


def chosen(versions: Iterable[int], tunes: Iterable[FineTune]) -> Choice:
    """What is new, and what is known, by what became of earlier fine-tunes.

    Versions whose fine-tune was refused are left out for good: they made the weights worse, and
    would spoil the next one as well. Those of one that failed, or whose live test ended without a
    decision, are new again.
    """
    learnt: set[int] = set()
    spoilt: set[int] = set()
    for tune in tunes:
        if tune.stage is Stage.PROMOTED:
            learnt |= set(tune.versions)
        elif tune.stage in _SPOILT:
            spoilt |= set(tune.versions)
    known = sorted(set(versions) - (spoilt - learnt))
    return Choice(
        tuple(v for v in known if v not in learnt), tuple(v for v in known if v in learnt)
    )


def replay_count(new: int, share: float) -> int:
    """Older examples beside `new` ones so that they are `share` of all, 0 <= share < 1."""
    return round(new * share / (1 - share))
