"""One target's side of the history: what is written around each decision, and read at a start."""

from __future__ import annotations

from autotuner.journal.journal import Journal
from autotuner.journal.options import JournalOptions, Wishes

__all__ = ["Journal", "JournalOptions", "Wishes"]
