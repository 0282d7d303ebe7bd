from __future__ import annotations

import json
import math
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from autotuner.domain.experiment import (
    Arm,
    Conclusion,
    Experiment,
    HardLimits,
    Look,
    Pair,
    Phase,
    Plan,
    Slot,
    SlotOutcome,
    Verdict,
)
from autotuner.domain.knobs import Settings
from autotuner.history.columns import to_json
from autotuner.history.rows import (
    experiment_of,
    experiment_row,
    look_of,
    look_row,
    pair_of,
    pair_row,
    plan_of,
    slot_of,
    slot_row,
)

figures = st.floats()  # NaN and infinities too
counts = st.integers(0, 10**9)
times = st.floats(0, 4e9)

outcomes = st.builds(
    SlotOutcome,
    requests=counts,
    good=counts,
    failed=counts,
    straddlers=counts,
    counted_s=figures,
    ttft_p95_s=figures,
    gap_p95_s=figures,
    e2el_mean_s=figures,
    prompt_tokens=counts,
    output_tokens=counts,
)
slots = st.builds(
    Slot,
    index=counts,
    arm=st.sampled_from(Arm),
    generation=counts,
    started_at=times,
    counted_from=st.none() | times,
    ended_at=st.none() | times,
    outcome=st.none() | outcomes,
    excluded=st.none() | st.text(),
)
pairs = st.builds(Pair, counts, figures, outcomes, outcomes)
looks = st.builds(Look, counts, figures, figures, figures, figures, figures, figures)
plans = st.builds(
    Plan,
    slot_s=figures,
    max_pairs=counts,
    prior_sd=figures,
    limits=st.builds(HardLimits, figures, counts, figures),
)
conclusions = st.builds(
    Conclusion, st.sampled_from(Verdict), st.text(), counts, figures, figures, figures, figures
)
experiments = st.builds(
    Experiment,
    id=st.text(min_size=1),
    target=st.text(min_size=1),
    control=st.just(Settings({"a": 1})),
    treatment=st.just(Settings({"a": 2})),
    plan=plans,
    seed=counts,
    started_at=times,
    proposer=st.text(),
    rationale=st.text(),
    phase=st.sampled_from(Phase),
    conclusion=st.none() | conclusions,
)


def stored(row: dict[str, Any]) -> dict[str, Any]:
    """The row as a database gives it back: JSON columns through text, never a NaN."""
    back = {k: json.loads(to_json(v)) if isinstance(v, dict) else v for k, v in row.items()}
    assert not any(isinstance(v, float) and math.isnan(v) for v in back.values())
    return back


@given(slots)
def test_slots_round_trip(slot: Slot) -> None:
    assert repr(slot_of(stored(slot_row("e", slot)))) == repr(slot)


@given(pairs)
def test_pairs_round_trip(pair: Pair) -> None:
    assert repr(pair_of(stored(pair_row("e", pair)))) == repr(pair)


@given(looks)
def test_looks_round_trip(look: Look) -> None:
    assert repr(look_of(stored(look_row("e", 0, look)))) == repr(look)


@given(experiments)
def test_experiments_round_trip(experiment: Experiment) -> None:
    row = stored(experiment_row(experiment, None, None))
    known = {s.digest: s for s in (experiment.control, experiment.treatment)}
    assert repr(experiment_of(row, known, (), (), ())) == repr(experiment)


def test_a_plan_of_another_version_is_read() -> None:
    plan = plan_of({"slot_s": 30.0, "limits": {"min_requests": 3, "old": 1}, "new_figure": 7})
    assert plan == Plan(slot_s=30.0, limits=HardLimits(min_requests=3))


def test_a_plan_without_limits_has_the_default_ones() -> None:
    assert plan_of({}) == Plan()
