"""How often one client may do a thing: a token bucket per client, in bounded memory."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field


@dataclass
class Pace:
    """`burst` at once, then one every `every_s`. Clients beyond `clients` forget the oldest."""

    burst: int
    every_s: float
    clients: int = 10_000
    _left: OrderedDict[str, tuple[float, float]] = field(default_factory=OrderedDict)

    def wait_s(self, client: str, now: float) -> float:
        """0 and one is used up; else how long to wait until the next is free. `now`: monotonic."""
        left, seen = self._left.pop(client, (float(self.burst), now))
        left = min(float(self.burst), left + max(0.0, now - seen) / self.every_s)
        allowed = left >= 1
        self._left[client] = (left - 1 if allowed else left, now)
        if len(self._left) > self.clients:
            self._left.popitem(last=False)
        return 0.0 if allowed else (1 - left) * self.every_s
