"""What the tests of `autotuner experiment` share: values, and a history in some state."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from typer.testing import Result

from autotuner.domain.errors import AutotunerError
from autotuner.domain.experiment import (
    Arm,
    Conclusion,
    Experiment,
    GuardrailLook,
    Look,
    Pair,
    Phase,
    Plan,
    Slot,
    SlotOutcome,
    Verdict,
)
from autotuner.domain.knobs import Settings
from autotuner.history.store import History

PLANS = Path(__file__).parents[3] / "experiments" / "plans"
POLICIES = PLANS.parents[1] / "policies"
LIVE = Settings({"max_num_seqs": 16, "max_num_batched_tokens": 2048, "batch_timeout_ms": 0})
WISH: dict[str, Any] = {
    "target": "chat",
    "name": "larger",
    "note": "the queue is long",
    "changes": {"max_num_seqs": 32},
    "experiment": {"max_pairs": 12, "guardrails": []},
}
Command = Callable[..., Result]


def mistake(result: Result) -> str:
    """The text of the error that `main` would show with exit code 2."""
    assert isinstance(result.exception, AutotunerError), result.output
    return str(result.exception)


def daemon_lives(history: History, mode: str = "active") -> None:
    history.record_target("chat", kind="worker", url="http://127.0.0.1:9", at=1.0)
    history.heartbeat("d1", "chat", at=time.time(), sentence="held: idle", mode=mode)


def served(good: int) -> SlotOutcome:
    return SlotOutcome(20, good, 0, 1, 50.0, 0.8, 0.1, 2.0, 2000, 900, e2el_p95_s=2.0 + 0.01 * good)


def experiment(name: str, differences: list[float], plan: Plan) -> Experiment:
    """A running test of that many pairs."""
    pairs = tuple(Pair(k, d, served(12), served(15)) for k, d in enumerate(differences))
    slots = tuple(
        Slot(k, Arm.TREATMENT if k % 2 else Arm.CONTROL, k + 1, 60.0 * k, 60.0 * k + 5, 60.0 * k
             + 60, served(12 + 3 * (k % 2)))
        for k in range(2 * len(pairs))
    )  # fmt: skip
    kept = tuple(GuardrailLook(g.measure, 1, 0.4, -1.0, 0.01, -0.3, 0.3) for g in plan.guardrails)
    looks = tuple(
        Look(k + 1, 0.5, -1.0, 0.4, d, -0.2, 0.3, kept) for k, d in enumerate(differences)
    )
    planned = Experiment(
        name, "chat", LIVE, LIVE.with_values(max_num_seqs=32), plan, 7, 1000.0, "ana", "larger"
    )
    counting = planned.to(Phase.WASHOUT).to(Phase.COUNTING)
    return replace(counting, slots=slots, pairs=pairs, looks=looks)


def closed(test: Experiment, verdict: Verdict) -> Experiment:
    return test.closed(Conclusion(verdict, "so it is", len(test.pairs), 0.1, 0.0, 0.2, 0.97))
