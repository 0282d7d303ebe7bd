"""The process that trains an agent further: one request as JSON on stdin, the answer on stdout.

Low priority, one thread, and it ends when who asked is gone. The new agent is written where the
request says; whether it is used is not decided here.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from autotuner.agent import lived
from autotuner.agent.artifact import AgentArtifact, load, save
from autotuner.agent.deals import SystemSource
from autotuner.agent.finetune import Comparison, Family, compare
from autotuner.agent.lived import Moment
from autotuner.domain.knobs import Knob, KnobSpace
from autotuner.domain.slo import SLO

COMMAND = (sys.executable, "-m", "autotuner.agent.finetune_job")
_NICENESS = 15
# Gentler than from scratch: what the agent knows is to be bent, not burnt; chosen.
GENTLE_RATE = 2e-4


@dataclass(frozen=True)
class Request:
    """Train `agent` (a path) on the target's family, write the result to `out`, compare both.

    `trained_on` is a date as text; `systems`: held-out ones that both play.
    `asked_by`: the process whose child this runs in, and with which it ends; 0 for none.
    """

    agent: Path
    out: Path
    name: str
    moments: tuple[Moment, ...]
    space: KnobSpace
    slo: SLO
    steps: int
    seed: int
    systems: int
    trained_on: str
    learning_rate: float = GENTLE_RATE
    asked_by: int = 0

    def as_json(self) -> bytes:
        body = {
            "agent": str(self.agent),
            "out": str(self.out),
            "name": self.name,
            "moments": lived.to_json(self.moments),
            "space": [asdict(knob) for knob in self.space],
            "slo": asdict(self.slo),
            "steps": self.steps,
            "seed": self.seed,
            "systems": self.systems,
            "trained_on": self.trained_on,
            "learning_rate": self.learning_rate,
            "asked_by": self.asked_by,
        }
        return json.dumps(body, allow_nan=False).encode()

    @staticmethod
    def from_json(text: bytes) -> Request:
        body = json.loads(text)
        return Request(
            Path(body["agent"]),
            Path(body["out"]),
            body["name"],
            lived.from_json(body["moments"]),
            _space(body["space"]),
            SLO(**body["slo"]),
            body["steps"],
            body["seed"],
            body["systems"],
            body["trained_on"],
            body["learning_rate"],
            body["asked_by"],
        )


def answer(text: bytes) -> Comparison:
    """The comparison that the process told; raises ValueError for anything else."""
    told: Mapping[str, Any] = json.loads(text)
    try:
        return Comparison(**told)
    except TypeError as error:
        raise ValueError(f"not a comparison: {error}") from error


def run(request: Request) -> Comparison:
    """Trains, writes the new agent with its score, and compares it with the old one."""
    old = load(request.agent)
    family = Family(request.moments, request.space, request.slo)
    trained = train_further(old, family.draw, request)
    found = compare(old, trained, family.draw, request.systems, request.seed + 1)
    card = replace(trained.card, score={"regret": found.score, "regret_before": found.before})
    save(AgentArtifact(card, trained.tensors), request.out)
    return found


def train_further(old: AgentArtifact, source: SystemSource, request: Request) -> AgentArtifact:
    """PPO goes on from the old agent's weights, in games on the source's systems."""
    from autotuner.agent.ppo import TrainConfig, TrainProgress, train

    def told(_at: TrainProgress) -> None:
        if request.asked_by not in (0, os.getppid()):
            raise SystemExit("who asked for the training is gone")

    config = TrainConfig(
        name=request.name,
        steps=request.steps,
        seed=request.seed,
        trained_on=request.trained_on,
        learning_rate=request.learning_rate,
        net=old.card.net,
    )
    return train(config, told, old, source)


def _space(knobs: Sequence[Mapping[str, Any]]) -> KnobSpace:
    return KnobSpace(tuple(Knob(**{**k, "levels": tuple(k["levels"])}) for k in knobs))


def main() -> None:
    os.nice(_NICENESS)
    # Whatever a library prints must not mix with the answer.
    with os.fdopen(os.dup(sys.stdout.fileno()), "w") as out:
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
        out.write(json.dumps(asdict(run(Request.from_json(sys.stdin.buffer.read())))))


if __name__ == "__main__":
    main()
