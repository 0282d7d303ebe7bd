"""A run killed mid-way and begun again comes to the weights of one that was left alone."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from autotuner.finetune.errors import TrainingError
from autotuner.finetune.training.plan import TrainingPlan
from autotuner.finetune.training.progress import Progress
from autotuner.finetune.training.run import train
from autotuner.finetune.training.run_folder import RunFolder
from autotuner.finetune.training.trained import Trained
from tests.integration.finetune_training.interrupted import COUNT
from tests.integration.finetune_training.tiny import examples, make_model

EVERY_UPDATE_S = 1e-9  # a checkpoint after each
PLAN = TrainingPlan(
    rank=4, learning_rate=1e-2, batch_size=6, epochs=3, checkpoint_every_s=EVERY_UPDATE_S
)
STEPS = 21


def killed_after(step: int, base: Path, out: Path, plan: TrainingPlan) -> None:
    """A process that is killed once it has told of update `step`."""
    module = "tests.integration.finetune_training.interrupted"
    command = [sys.executable, "-m", module, str(base), str(out), str(step)]
    process = subprocess.Popen([*command, json.dumps(plan.as_dict())], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == f"{step}\n".encode()
    process.kill()
    process.wait()
    process.stdout.close()


def same(one: Trained, other: Trained) -> bool:
    first, second = (load_file(t.folder / "adapter_model.safetensors") for t in (one, other))
    return first.keys() == second.keys() and all(torch.equal(first[n], second[n]) for n in first)


@pytest.mark.process
def test_a_killed_run_goes_on_to_the_same_weights(tiny: Path, tmp_path: Path) -> None:
    alone = train(tiny, examples(COUNT), PLAN, tmp_path / "alone")
    killed_after(9, tiny, tmp_path / "killed", PLAN)
    assert not (tmp_path / "killed" / "adapter").exists()
    told: list[Progress] = []

    resumed = train(tiny, examples(COUNT), PLAN, tmp_path / "killed", told.append)

    assert same(alone, resumed)
    # Update 9 was told of and its checkpoint was not written: it is made and told again, once.
    assert [item.step for item in told] == list(range(9, STEPS + 1))
    read = [item.step for item in RunFolder(tmp_path / "killed").progress.read()]
    assert read == list(range(1, STEPS + 1))
    assert (resumed.resumed, alone.resumed) == (1, 0)
    assert resumed.last_loss == alone.last_loss
    assert resumed.answer_tokens == alone.answer_tokens


@pytest.mark.process
def test_processes_end_with_who_started_them_and_go_on_with_their_memory(
    tiny: Path, tmp_path: Path
) -> None:
    """PowerSGD remembers what it left out and its last factors, each process its own."""
    plan = replace(
        PLAN, processes=2, compression="powersgd", powersgd_rank=1, powersgd_start=2, method="full"
    )
    plan = replace(plan, bucket_mb=0.01)
    alone = train(tiny, examples(COUNT), plan, tmp_path / "alone")
    # Paced, so that it is still at it when it is killed: pace does not change what comes out.
    killed_after(9, tiny, tmp_path / "killed", replace(plan, share=0.3))

    # It waits for the lock of process 0, which is free when that one is gone.
    resumed = train(tiny, examples(COUNT), plan, tmp_path / "killed")

    assert resumed.resumed == 1
    first, second = (load_file(t.folder / "model.safetensors") for t in (alone, resumed))
    for name, item in first.items():
        assert torch.equal(item, second[name]), name


def test_a_finished_run_is_returned_as_it_is(tiny: Path, tmp_path: Path) -> None:
    first = train(tiny, examples(6), PLAN, tmp_path)
    told: list[Progress] = []

    assert train(tiny, examples(6), PLAN, tmp_path, told.append) == first
    assert not told


def test_another_run_in_the_same_folder_is_refused(tiny: Path, tmp_path: Path) -> None:
    train(tiny, examples(6), PLAN, tmp_path / "run")

    for base, count, plan in (
        (tiny, 7, PLAN),
        (tiny, 6, replace(PLAN, seed=1)),
        (make_model(tmp_path / "other", seed=1), 6, PLAN),
    ):
        with pytest.raises(TrainingError, match="another run is there"):
            train(base, examples(count), plan, tmp_path / "run")


def test_a_checkpoint_out_of_order_is_told_with_the_way_out(tiny: Path, tmp_path: Path) -> None:
    broken = tmp_path / "checkpoints" / "3"
    broken.mkdir(parents=True)
    (broken / "process0.pt").write_bytes(b"half")

    with pytest.raises(TrainingError, match=r"can't be read .*: remove .*/checkpoints to begin"):
        train(tiny, examples(6), PLAN, tmp_path)
