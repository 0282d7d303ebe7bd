"""One process of a run, from the run's folder to its result; process 0 of several writes it."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable

import torch

from autotuner.finetune.training.checkpoint import Checkpoints
from autotuner.finetune.training.cluster import Alone, Cluster, Together
from autotuner.finetune.training.loop import Loop
from autotuner.finetune.training.model import load_trainable
from autotuner.finetune.training.pacing import Clocks, Pacer, cores_allowed
from autotuner.finetune.training.progress import Progress
from autotuner.finetune.training.result_writer import write_result
from autotuner.finetune.training.run_folder import RunFolder
from autotuner.finetune.training.tokens import Tokeniser

Told = Callable[[Progress], None]


def run_rank(folder: RunFolder, progress: Told, processes_here: int = 1) -> None:
    """Trains as the folder says; `processes_here` of the run share this machine.

    Raises TrainingError. Of several processes, torchrun's variables say which this one is.
    """
    plan = folder.task().plan
    torch.set_num_threads(plan.threads)
    with contextlib.ExitStack() as at_end:
        together: Together = Alone()
        if plan.processes > 1:
            together = cluster = Cluster(plan)
            at_end.callback(cluster.close)
        if together.rank == 0:
            at_end.enter_context(folder.locked())
        _train(folder, together, progress, processes_here)


def _train(folder: RunFolder, together: Together, progress: Told, processes_here: int) -> None:
    task, clocks = folder.task(), Clocks()
    plan = task.plan
    pacer = Pacer(plan.share * cores_allowed() / processes_here, clocks)
    tokeniser = Tokeniser(task.base, plan.prompt_form, plan.max_tokens)
    examples = tokeniser.all(folder.examples())
    model = load_trainable(task.base, plan)
    checkpoints = Checkpoints(folder.checkpoints, together.rank, together.barrier)
    loop = Loop(model, examples, plan, together, checkpoints, pacer, clocks)
    if together.rank == 0:
        folder.progress.forget_after(loop.resume())
    else:
        loop.resume()

    def tell(item: Progress) -> None:
        if together.rank == 0:
            folder.progress.append(item)
        progress(item)

    record = loop.run(tell)
    if together.rank == 0:
        write_result(folder, task, model, record, len(examples))
        shutil.rmtree(folder.checkpoints, ignore_errors=True)
    together.barrier()
