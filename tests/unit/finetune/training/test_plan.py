from __future__ import annotations

import json

import pytest

from autotuner.finetune.errors import TrainingError
from autotuner.finetune.training.plan import TrainingPlan


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"method": "qlora"}, "method='qlora': give one of lora, full"),
        ({"rank": 0}, "rank=0: give at least 1"),
        ({"learning_rate": float("nan")}, "learning_rate=nan: give a number above 0"),
        ({"share": 1.5}, "share=1.5"),
        ({"targets": ()}, "name at least one layer"),
        ({"processes": 4, "group_size": 3}, r"group_size=3: give a divisor of processes \(4\)"),
        ({"processes": 9}, "batch_size=8: give at least one example for each of 9 processes"),
        ({"compression": "bf16"}, "gloo has no bf16"),
        (
            {"processes": 2, "averaging": "hierarchical", "compression": "powersgd"},
            "compression='powersgd': PowerSGD averages over all processes",
        ),
    ],
)
def test_a_plan_that_cannot_be_names_field_value_and_fix(
    fields: dict[str, object], told: str
) -> None:
    with pytest.raises(TrainingError, match=told):
        TrainingPlan.from_dict(fields).check()


def test_a_plan_comes_back_from_json() -> None:
    plan = TrainingPlan(rank=4, targets=("q_proj",), processes=2, compression="powersgd")

    assert TrainingPlan.from_dict(json.loads(json.dumps(plan.as_dict()))) == plan


def test_an_unknown_field_is_refused() -> None:
    with pytest.raises(TrainingError, match="ranks=4: no such field"):
        TrainingPlan.from_dict({"ranks": 4})


def test_pace_does_not_make_another_run() -> None:
    slow = TrainingPlan(share=0.1, checkpoint_every_s=1.0)

    assert slow.what_decides_the_result() == TrainingPlan().what_decides_the_result()
    assert TrainingPlan(seed=1).what_decides_the_result() != slow.what_decides_the_result()
