from __future__ import annotations

import json
import math
from dataclasses import fields
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from autotuner.domain.experiment import (
    Arm,
    Conclusion,
    Design,
    Experiment,
    Guardrail,
    GuardrailLook,
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
from autotuner.domain.measures import MEASURES
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
from autotuner.history.tables import slots as slots_table

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
    e2el_p95_s=figures,
    ttft_mean_s=figures,
    energy_j=figures,
    quality=figures,
    feedback=figures,
    feedback_count=counts,
    out_of_memory=counts,
    temperature_max_c=figures,
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
    lane=st.integers(0, 1),
    lanes=st.integers(1, 2),
)
pairs = st.builds(Pair, counts, figures, outcomes, outcomes, figures)
kept = st.builds(GuardrailLook, st.sampled_from(list(MEASURES)), counts, *[figures] * 5)
looks = st.builds(Look, counts, *[figures] * 6, guardrails=st.lists(kept, max_size=3).map(tuple))
plans = st.builds(
    Plan,
    slot_s=figures,
    max_pairs=counts,
    prior_sd=figures,
    limits=st.builds(HardLimits, figures, counts, figures, figures, counts),
    design=st.sampled_from(Design),
    guardrails=st.lists(
        st.builds(Guardrail, st.sampled_from(list(MEASURES)), figures, figures), max_size=3
    ).map(tuple),
    covariates=st.lists(st.sampled_from(["offered_load", "prompt_tokens"])).map(tuple),
    price_per_hour=figures,
    confirms=st.text(),
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
    back = {k: json.loads(to_json(v)) if isinstance(v, dict | list) else v for k, v in row.items()}
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
    assert repr(plan) == repr(Plan(slot_s=30.0, limits=HardLimits(min_requests=3)))


def test_a_plan_without_limits_has_the_default_ones() -> None:
    # By text, since the price that nobody told is NaN.
    assert repr(plan_of({})) == repr(Plan())


def test_a_guardrail_of_another_version_is_read() -> None:
    told = {"measure": "error_share", "margin": "Infinity", "new_figure": 7}
    assert plan_of({"guardrails": [told]}).guardrails == (Guardrail("error_share", math.inf),)


def test_an_outcome_of_another_version_lacks_only_what_was_not_measured() -> None:
    outcome = SlotOutcome(9, 7, 1, 2, 50.0, 0.9, 0.1, 2.5, 2000, 900)
    row = pair_row("e", Pair(0, 0.1, outcome, outcome))
    added = {"e2el_p95_s", "energy_j", "feedback_count", "out_of_memory"}
    old = {**row, "control": {k: v for k, v in row["control"].items() if k not in added}}
    assert repr(pair_of(old).control) == repr(outcome)


def test_every_figure_of_a_slot_has_its_column() -> None:
    row = slot_row("e", Slot(0, Arm.CONTROL, 1, 0.0))
    assert set(row) == {column.name for column in slots_table.columns}
    assert {item.name for item in fields(SlotOutcome)} <= set(row)
