"""Which settings all engines of a group have confirmed. Pure: the words come in, a verdict out."""

from __future__ import annotations

from dataclasses import dataclass, replace

from autotuner.worker.messages import ApplySettings, SettingsApplied
from autotuner.worker.settings import WorkerSettings


class NotAppliedError(Exception):
    """A change of settings did not come to act (or is not known to have). Read back first."""


@dataclass(frozen=True)
class InForce:
    """Settings that every engine has applied, since `applied_at` (wall clock, s)."""

    settings: WorkerSettings
    generation: int
    applied_at: float


class Agreement:
    """Settings are in force once every ready engine has confirmed the same generation.

    `in_force` never goes back. `wanted` is the last that was asked for: an engine that joins with
    older settings has to be told. Methods return whether `in_force` has changed.
    """

    def __init__(self, first: InForce) -> None:
        self.in_force = first
        self.wanted = ApplySettings(first.settings, first.generation)
        self._starts: dict[int, InForce] = {}
        self._words: dict[int, SettingsApplied] = {}

    def begin(self, at: float) -> None:
        """The first settings act from `at` on (wall clock, s)."""
        self.in_force = replace(self.in_force, applied_at=at)

    def starts(self, replica: int) -> InForce:
        """What an engine that is started now begins with; it has a say once it has joined."""
        self._starts[replica] = self.in_force
        return self.in_force

    def joined(self, replica: int) -> bool:
        """A started engine is ready; whether it has to hear of `wanted` `is_behind` tells."""
        start = self._starts[replica]
        return self.confirmed(
            replica, SettingsApplied(start.settings, start.generation, start.applied_at)
        )

    def is_behind(self, replica: int) -> bool:
        return self._words[replica].generation < self.wanted.generation

    def want(self, message: ApplySettings) -> None:
        self.wanted = message

    def confirmed(self, replica: int, word: SettingsApplied) -> bool:
        """An engine's word that it has applied these settings."""
        self._words[replica] = word
        return self._settle()

    def left(self, replica: int) -> bool:
        """An engine is lost: its word counts no more.

        With the last one goes the wish too: what nobody confirmed may be what ended them.
        """
        self._words.pop(replica, None)
        if not self._words:
            self.wanted = ApplySettings(self.in_force.settings, self.in_force.generation)
        return self._settle()

    def _settle(self) -> bool:
        words = list(self._words.values())
        generations = {word.generation for word in words}
        if len(generations) != 1 or words[0].generation <= self.in_force.generation:
            return False
        at = max(word.at for word in words)
        self.in_force = InForce(words[0].settings, words[0].generation, at)
        return True
