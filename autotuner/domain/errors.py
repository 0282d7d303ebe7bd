"""Every error that autotuner raises on purpose.

AutotunerError
├── ConfigError            a configuration or policy that can't be used (field, value, fix)
├── InvalidSettingsError   a knob or a value that the knob space does not have
├── IllegalTransitionError an experiment asked to do what its phase does not allow
├── AgentError             weights that do not fit this version (reason)
├── ProposerBusyError      other targets think of candidates: ask again in the next cycle
├── HistoryError           the history can't be read or written
│   ├── HistoryUnavailableError its database does not answer now; it may later
│   └── StaleLeaderError        another daemon leads since: nothing was written
└── TargetError            the target did not do what was asked
    ├── TargetUnavailableError  no answer: nothing is known about what it did
    ├── StaleGenerationError    somebody changed the settings since they were read
    └── SettingsRefusedError    the target refuses a knob or a value, or its engine failed (fault)
"""

from __future__ import annotations

from collections.abc import Mapping


class AutotunerError(Exception):
    """Base of all errors raised on purpose; its text is fit for a user's eyes."""


class ConfigError(AutotunerError):
    """A configuration or policy that can't be used."""


class InvalidSettingsError(AutotunerError):
    """A knob that does not exist, is missing, or has a value outside its levels."""

    def __init__(self, field: str, value: object, fix: str) -> None:
        super().__init__(f"{field}={value!r}: {fix}")
        self.field, self.value = field, value


class IllegalTransitionError(AutotunerError):
    """An experiment was asked to do what its phase does not allow."""


class AgentError(AutotunerError):
    """An agent's weights can't be used; the text says why."""


class ProposerBusyError(AutotunerError):
    """Other targets think of their candidates: ask again in the next cycle."""


class HistoryError(AutotunerError):
    """The history can't be read or written."""


class StaleLeaderError(HistoryError):
    """Another daemon leads since this one's term ended: nothing was written."""


class HistoryUnavailableError(HistoryError):
    """The database does not answer, is locked, or ended the connection: it may do so later.

    Nothing was written, or, where it broke off at a commit, whether it was is unknown.
    """


class TargetError(AutotunerError):
    """The target did not do what was asked."""


class TargetUnavailableError(TargetError):
    """No usable answer: whether the request took effect is unknown."""


class StaleGenerationError(TargetError):
    """The settings were changed by somebody else since they were read; nothing was applied."""


class SettingsRefusedError(TargetError):
    """The target refuses a knob or a value; nothing was applied.

    `fault`: why an engine with these settings failed (a word of `domain.feasibility.Fault`), None
    where none was tried. `settings`: those that were sent, where the sender says.
    """

    def __init__(
        self,
        text: str,
        fault: str | None = None,
        settings: Mapping[str, int | float | str | bool] | None = None,
    ) -> None:
        super().__init__(text)
        self.fault, self.settings = fault, settings
