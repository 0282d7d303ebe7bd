"""The front's part for targets, their settings and agents; knows no SQL."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from autotuner.domain.knobs import Settings
from autotuner.history import settings_store
from autotuner.history.front import Front
from autotuner.history.records import Incumbent, IncumbentRecord, Quarantine


class SettingsFront(Front):
    """What is tuned, and which settings were live, are to be avoided, or came from whom."""

    def record_target(
        self, name: str, *, kind: str, url: str, at: float, info: Mapping[str, Any] | None = None
    ) -> None:
        """A target must be recorded before anything about it; again updates it."""
        self._db.write(settings_store.write_target, name, kind, url, at, dict(info or {}))

    def target_info(self, name: str) -> dict[str, Any]:
        """What `record_target` was last told; empty for a target that is not known."""
        return self._db.read(settings_store.read_target_info, name)

    def record_settings(self, settings: Settings, at: float) -> str:
        """The digest under which `settings` are stored."""
        self._db.write(settings_store.write_settings, [settings], at)
        return settings.digest

    def settings(self, digest: str) -> Settings | None:
        return self._db.read(settings_store.read_settings, [digest]).get(digest)

    def set_incumbent(
        self,
        target: str,
        settings: Settings,
        *,
        at: float,
        why: str,
        experiment_id: str | None = None,
    ) -> None:
        """`settings` are live from `at` on. The same settings again change nothing.

        When a decision leads here, call this before `decision_done`: after a crash in between
        the decision is still unfinished and is resolved by reading the target back.
        """
        self._db.write(settings_store.write_incumbent, target, settings, at, why, experiment_id)

    def incumbent(self, target: str) -> Incumbent | None:
        return self._db.read(settings_store.read_incumbent, target)

    def incumbents(
        self, target: str, *, before: int | None = None, limit: int = 50
    ) -> list[IncumbentRecord]:
        """What was live when, newest first; `before` is the id to go on from."""
        return self._db.read(settings_store.read_incumbents, target, before, limit)

    def quarantine(
        self,
        target: str,
        settings: Settings,
        *,
        reason: str,
        at: float,
        until: float | None = None,
    ) -> None:
        """`settings` are not to be proposed for `target` until `until` (None: for good)."""
        self._db.write(settings_store.write_quarantine, target, settings, reason, at, until)

    def quarantined(self, target: str, now: float) -> frozenset[str]:
        """The digests never to propose at `now`."""
        return frozenset(self.quarantines(target, now))

    def quarantines(self, target: str, now: float) -> dict[str, float]:
        """The digests never to propose at `now`, each with its end (infinite: for good)."""
        return self._db.read(settings_store.read_quarantines, target, now)

    def barred(self, target: str) -> list[tuple[Settings, str]]:
        """The settings never to propose at any time, each with the reason; oldest first."""
        return self._db.read(settings_store.read_barred, target)

    def held(self, target: str | None, now: float) -> list[Quarantine]:
        """What is in quarantine at `now`, of one target or of all; oldest first."""
        return self._db.read(settings_store.read_held, target, now)

    def lift(self, held: Quarantine, who: str, why: str, at: float) -> bool:
        """Ends a quarantine; False where it had ended, or had been renewed, since it was read.

        Who and why lead its reason from then on.
        """
        return self._db.write(settings_store.lift, held, who, why, at)

    def lifted(self, target: str) -> frozenset[tuple[str, float]]:
        """The digests whose quarantine a person ended, each with when."""
        return self._db.read(settings_store.read_lifted, target)

    def record_agent(
        self, name: str, version: str, *, digest: str, info: Mapping[str, Any], at: float
    ) -> None:
        self._db.write(settings_store.write_agent, name, version, digest, dict(info), at)
