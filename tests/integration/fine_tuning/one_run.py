"""One run as a process that a test can kill: `autotuner learn run` at the priority of the test.

python -m tests.integration.fine_tuning.one_run CONFIG
"""

from __future__ import annotations

import sys
from pathlib import Path

from autotuner.config import load_config
from autotuner.finetune.job import Job
from autotuner.finetune.trainer import AdapterTrainer
from autotuner.history.store import open_history

config = load_config(Path(sys.argv[1]))
assert config.learn is not None
assert config.learn.base is not None
trainer = AdapterTrainer(Path(config.learn.base), config.learn)
Job(config, open_history(config.history), trainer).run()
