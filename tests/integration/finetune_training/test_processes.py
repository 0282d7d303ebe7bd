"""Several processes: they come to what one would, and the settings that save traffic act."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from autotuner.finetune.training.base import Base
from autotuner.finetune.training.plan import TrainingPlan
from autotuner.finetune.training.run_folder import RunFolder, Task
from tests.integration.finetune_training.reference import reference_weights
from tests.integration.finetune_training.several import KINDS, START, inputs, outputs
from tests.integration.finetune_training.tiny import examples

pytestmark = pytest.mark.process

EXAMPLES = examples(29)  # the last batch is smaller, and not all processes have a part of it
PLAN = TrainingPlan(
    rank=4, learning_rate=1e-2, batch_size=6, micro_batch=2, epochs=2, processes=2, bucket_mb=0.01
)
LOCAL = replace(
    PLAN, processes=4, averaging="hierarchical", group_size=2, local_start=2, average_every=3
)
FULL = replace(PLAN, method="full")
POWERSGD = replace(FULL, compression="powersgd", powersgd_rank=1, powersgd_start=3)
LOCAL_TWO = replace(LOCAL, processes=2, group_size=1)
RUNS = {
    "two": PLAN,
    "full": FULL,
    "powersgd": POWERSGD,
    "local": LOCAL,
    "local-two": LOCAL_TWO,
    "local-fp16": replace(LOCAL_TWO, compression="fp16"),
}


@pytest.fixture(scope="module")
def done(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with all runs, trained."""
    out = tmp_path_factory.mktemp("several")
    for name, plan in RUNS.items():
        RunFolder(out / name).prepare(Task(Base.find(tiny), plan, {}), EXAMPLES)
    module = "tests.integration.finetune_training.several"
    command = [sys.executable, "-m", module, str(out), *RUNS, "gradients"]
    subprocess.run(command, check=True, timeout=280)
    return out


def adapter(folder: Path) -> dict[str, torch.Tensor]:
    """By the names that a model has for them while it is trained."""
    tensors = load_file(folder / "adapter" / "adapter_model.safetensors")
    return {name.replace(".weight", ".default.weight"): item for name, item in tensors.items()}


def losses(folder: Path) -> list[float]:
    return [item.loss for item in RunFolder(folder).progress.read()]


def test_two_processes_equal_one_on_the_whole_batch(done: Path, tiny: Path) -> None:
    one = reference_weights(tiny, EXAMPLES, replace(PLAN, processes=1))

    assert_close(adapter(done / "two"), one)


def test_hierarchical_averages_gradients_in_groups_and_weights_over_all(
    done: Path, tiny: Path
) -> None:
    found, expected = adapter(done / "local"), reference_weights(tiny, EXAMPLES, LOCAL)

    assert_close(found, expected)
    every_step = reference_weights(tiny, EXAMPLES, replace(LOCAL, averaging="every_step"))
    with pytest.raises(AssertionError):
        assert_close(found, every_step)


def test_half_precision_is_near_to_what_it_saves_on(done: Path) -> None:
    exact, half = losses(done / "local-two"), losses(done / "local-fp16")

    assert half != exact
    assert half == pytest.approx(exact, abs=0.05)


def test_powersgd_acts_from_its_start_on_and_learns(done: Path) -> None:
    exact, compressed = losses(done / "full"), losses(done / "powersgd")
    # The loss of an update is computed before its gradients.
    start = POWERSGD.powersgd_start + 1

    assert compressed[:start] == pytest.approx(exact[:start], rel=1e-6)
    assert compressed[start] != pytest.approx(exact[start], rel=1e-6)
    assert compressed[-1] < compressed[0]


def test_powersgd_leaves_a_gradient_of_its_rank(done: Path) -> None:
    ranks = [int(torch.linalg.matrix_rank(g, rtol=1e-4)) for g in gradients(done, "powersgd")]

    assert ranks[:START] == [outputs(0).shape[0]] * START
    assert ranks[START] == KINDS["powersgd"].powersgd_rank


@pytest.mark.parametrize(("kind", "error"), [("none", 1e-5), ("fp16", 2e-2)])
def test_gradients_are_the_mean_over_processes(done: Path, kind: str, error: float) -> None:
    for update, found in enumerate(gradients(done, kind)):
        each = [outputs(rank).T @ inputs(rank, update) for rank in (0, 1)]
        torch.testing.assert_close(found, (each[0] + each[1]) / 2, atol=error, rtol=0)


def test_fp16_sends_halves(done: Path) -> None:
    exact, half = gradients(done, "none"), gradients(done, "fp16")

    assert all(torch.equal(found, found.half().float()) for found in half)
    assert not any(torch.equal(found, found.half().float()) for found in exact)


def gradients(done: Path, kind: str) -> list[torch.Tensor]:
    found: list[Any] = json.loads((done / f"gradients-{kind}.json").read_text())
    return [torch.tensor(gradient) for gradient in found]


def assert_close(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    assert found.keys() == expected.keys()
    for name, item in expected.items():
        torch.testing.assert_close(found[name], item, atol=2e-4, rtol=1e-3)
