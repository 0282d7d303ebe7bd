"""What can be wrong with examples, with the folder that keeps them, and with training on them.

FineTuningError
├── RefusedFileError       a file that is not taken in, as a whole (place, field, value, fix)
├── StoreError             the store can't be read or written
│   └── StoreBusyError     another process writes it now
└── TrainingError          a plan, model or examples that can't be trained, or a run that failed
"""

from __future__ import annotations

from autotuner.domain.errors import AutotunerError


class FineTuningError(AutotunerError):
    """Base of what goes wrong on purpose while models are fine-tuned."""


class RefusedFileError(FineTuningError):
    """A file of examples that is not taken in; nothing of it was written."""


class StoreError(FineTuningError):
    """The store of examples can't be read or written, or was made otherwise than it is opened."""


class StoreBusyError(StoreError):
    """Another process takes in a file now: try again when it is done."""


class TrainingError(FineTuningError):
    """A plan, a model or examples that can't be trained, or a run that failed; it says why."""
