"""Fine-tuning: low-rank adapters or all weights, in one process or several."""

from autotuner.finetune.errors import TrainingError
from autotuner.finetune.training.plan import TrainingPlan
from autotuner.finetune.training.progress import Progress
from autotuner.finetune.training.run import train
from autotuner.finetune.training.trained import Trained

__all__ = ["Progress", "Trained", "TrainingError", "TrainingPlan", "train"]
