"""What the gate before a live test lets through."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from autotuner.domain.errors import IllegalTransitionError
from autotuner.domain.fine_tuning import FineTune, Scores, Stage
from autotuner.finetune.gate import GateRules, described, refusal

GOOD = Scores(2.0, 1.8, 1.5, 1.52, 0.50, 0.53, pairing=0.4)
RULES = GateRules(min_gain=0.01, forgetting=0.05, agreement_margin=0.01)


def test_better_on_the_new_and_as_good_on_the_old_passes() -> None:
    assert refusal(GOOD, RULES) is None
    assert refusal(replace(GOOD, old_before=math.nan, old_after=math.nan), RULES) is None
    assert refusal(replace(GOOD, pairing=0.0), replace(RULES, pairing=0.0)) is None
    assert described(GOOD) == (
        "held-out loss 2.0000 → 1.8000 nats, agreement 50.00% → 53.00%, loss on older examples "
        "1.5000 → 1.5200"
    )


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"new_after": 1.995}, "the held-out loss went from 2.0000 to 1.9950 nats: a fall"),
        ({"new_after": math.nan}, "the held-out loss went from 2.0000 to nan"),
        ({"new_before": math.nan, "new_after": math.nan}, "no held-out examples"),
        ({"pairing": 0.03}, "were the labels mixed up?"),
        ({"pairing": math.nan}, "certain are nan nats per token"),
        ({"old_after": 1.56}, "the loss on older examples went from 1.5000 to 1.5600"),
        ({"old_after": math.nan}, "the loss on older examples is nan: no number"),
        ({"agreement_after": 0.48}, "agreement with held-out answers went from 50.00% to 48.00%"),
    ],
)
def test_what_is_not_worth_a_live_test(change: dict[str, float], why: str) -> None:
    found = refusal(replace(GOOD, **change), RULES)
    assert found is not None
    assert why in found


def test_only_what_may_follow_follows() -> None:
    tune = FineTune("chat", "v1", "base", (1,), 1.0, 1.0)
    done = tune.to(Stage.TRAINING, 2.0, attempts=1).to(Stage.EVALUATED, 3.0, scores=GOOD)
    assert done.unfinished
    assert not done.to(Stage.OFFERED, 4.0).unfinished
    with pytest.raises(IllegalTransitionError, match="planned → promoted is not legal"):
        tune.to(Stage.PROMOTED, 2.0)
    with pytest.raises(IllegalTransitionError, match="evaluated → promoted is not legal"):
        done.to(Stage.PROMOTED, 4.0)
