"""The front's part for what people ask and what daemons say of themselves; knows no SQL."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from autotuner.domain.mode import Mode
from autotuner.history import operations_store
from autotuner.history.front import Front
from autotuner.history.records import Ask, Control


class OperationsFront(Front):
    """Wishes, and who took them; the last word of each daemon."""

    def ask(
        self,
        target: str,
        what: Ask | str,
        who: str,
        at: float,
        note: str = "",
        payload: Mapping[str, Any] | None = None,
    ) -> int:
        """The id of a wish; an EXPERIMENT's `payload` is {"changes": {…}, "plan": {…}}."""
        return self._db.write(operations_store.write_ask, target, Ask(what), who, at, note, payload)

    def take_controls(self, target: str, now: float) -> list[Control]:
        """What was asked since the last call, oldest first; declared tests are not among it."""
        return self._db.write(operations_store.take_controls, target, now)

    def next_declared(self, target: str) -> Control | None:
        """The oldest declared test that waits."""
        return self._db.read(operations_store.read_next_declared, target)

    def take_control(
        self, control_id: int, at: float, *, result: str = "", experiment_id: str | None = None
    ) -> None:
        """A request waits no longer: it became `experiment_id`, or `result` says why it did not.

        Raises HistoryError when it was taken or withdrawn meanwhile: nothing may follow from it.
        """
        self._db.write(operations_store.take_control, control_id, at, result, experiment_id)

    def control(self, control_id: int) -> Control | None:
        """One request, and what became of it."""
        return self._db.read(operations_store.read_control, control_id)

    def declared(
        self, target: str | None = None, *, before: int | None = None, limit: int = 20
    ) -> list[Control]:
        """Tests that people declared, newest first; `before` is the id to go on from."""
        return self._db.read(operations_store.read_declared, target, before, limit)

    def controls(
        self, target: str | None = None, *, before: int | None = None, limit: int = 50
    ) -> list[Control]:
        """Whatever people asked, newest first; `before` is the id to go on from."""
        return self._db.read(operations_store.read_controls, target, before, limit)

    def asked_mode(self, target: str) -> Mode:
        """The mode that was asked for last, in which a daemon starts; ACTIVE when none was."""
        return self._db.read(operations_store.read_asked_mode, target)

    def asked_modes(self, target: str, limit: int = 200) -> list[Control]:
        """What asked for a mode (pause, resume, advisory), newest first."""
        return self._db.read(operations_store.read_asked_modes, target, limit)

    def heartbeat(
        self, daemon_id: str, target: str, *, at: float, sentence: str, mode: Mode | str
    ) -> None:
        self._db.write(
            operations_store.write_heartbeat, daemon_id, target, at, sentence, Mode(mode)
        )
