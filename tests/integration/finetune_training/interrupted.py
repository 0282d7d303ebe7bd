"""A run that may be killed: `python -m … interrupted BASE OUT HOLD_AFTER PLAN`.

It holds after update HOLD_AFTER (0: never), so that whoever kills it does so there.
"""

from __future__ import annotations

import json
import sys
import threading
from pathlib import Path

from autotuner.finetune.training.plan import TrainingPlan
from autotuner.finetune.training.progress import Progress
from autotuner.finetune.training.run import train
from tests.integration.finetune_training.tiny import examples

COUNT = 40


def main(base: Path, out: Path, hold_after: int, plan: TrainingPlan) -> None:
    def hold(progress: Progress) -> None:
        if progress.step == hold_after:
            print(hold_after, flush=True)
            threading.Event().wait()

    train(base, examples(COUNT), plan, out, hold)


if __name__ == "__main__":
    read = TrainingPlan.from_dict(json.loads(sys.argv[4]))
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), read)
