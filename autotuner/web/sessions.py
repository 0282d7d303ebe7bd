"""Sessions of browsers, in memory alone: a restart of the daemon ends them all.

The cookie holds 32 random bytes, and the daemon keeps their SHA-256. There is nothing in it to
sign: what can't be guessed can't be forged, and what isn't kept here is no session.
"""

from __future__ import annotations

import secrets
from collections import OrderedDict
from dataclasses import dataclass, field

from autotuner.web.tokens import Entry, digest_of

LASTS_S = 12 * 3600.0  # chosen: a working day
MOST = 1000  # chosen: beyond, the oldest ends


@dataclass
class Sessions:
    """Which cookie is whose. `now` is monotonic, s."""

    lasts_s: float = LASTS_S
    most: int = MOST
    _kept: OrderedDict[str, tuple[Entry, float]] = field(default_factory=OrderedDict)

    def begin(self, entry: Entry, now: float) -> str:
        """The value of the cookie of a new session."""
        key = secrets.token_urlsafe(32)
        self._kept[digest_of(key)] = (entry, now + self.lasts_s)
        while len(self._kept) > self.most:
            self._kept.popitem(last=False)
        return key

    def of(self, key: str, now: float) -> Entry | None:
        """Whose session it is; None for one that ended, or never was."""
        digest = digest_of(key)
        entry, until = self._kept.get(digest, (None, 0.0))
        if entry is not None and now >= until:
            del self._kept[digest]
            return None
        return entry

    def end(self, key: str) -> Entry | None:
        """Whose session has ended with this."""
        entry, _ = self._kept.pop(digest_of(key), (None, 0.0))
        return entry
