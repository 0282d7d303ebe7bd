"""One process of a run of several: `torchrun … -m autotuner.finetune.training FOLDER`.

On several machines torchrun is started on each, with a FOLDER that all of them see.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from autotuner.finetune.errors import FineTuningError
from autotuner.finetune.training.processes import end_with_parent
from autotuner.finetune.training.run_folder import RunFolder

FAILED, WRONG_COMMAND = 1, 2


def main(arguments: Sequence[str]) -> int:
    """Exit status; why it failed stands in the folder too, for whoever started the processes."""
    if len(arguments) != 1 or "RANK" not in os.environ:
        print(__doc__, file=sys.stderr)  # noqa: T201
        return WRONG_COMMAND
    end_with_parent()
    from autotuner.finetune.training.rank import run_rank

    folder = RunFolder(Path(arguments[0]))
    try:
        run_rank(folder, lambda _: None, int(os.environ.get("LOCAL_WORLD_SIZE", "1")))
    except FineTuningError as error:
        folder.note_failure(str(error))
        print(f"training: {error}", file=sys.stderr)  # noqa: T201
        return FAILED
    except Exception as error:
        folder.note_failure(f"{type(error).__name__}: {error}: see {folder.log}")
        raise
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
