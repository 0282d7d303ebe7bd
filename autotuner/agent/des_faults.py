"""What goes wrong in a simulated engine under pressure."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Faults:
    """What goes wrong in an engine under pressure; by default nothing.

    With KV of more than `oom_tokens` tokens in use, or more than `oom_seqs` requests running, the
    engine dies: what runs is lost, what waits is kept, and it serves again after `restart_s`. Once
    more than `cliff_waiting` requests wait, its steps take `cliff_factor` times as long until none
    waits.
    """

    oom_tokens: float = math.inf
    oom_seqs: float = math.inf
    restart_s: float = 30.0
    cliff_waiting: float = math.inf
    cliff_factor: float = 1.0


NO_FAULTS = Faults()
