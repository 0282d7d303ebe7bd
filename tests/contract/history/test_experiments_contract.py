from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
from sqlalchemy import event

from autotuner.domain.errors import HistoryError
from autotuner.domain.experiment import (
    Arm,
    Design,
    Experiment,
    Guardrail,
    GuardrailLook,
    HardLimits,
    Look,
    Phase,
    Slot,
    SlotOutcome,
    Verdict,
)
from autotuner.history.store import History

Build = Callable[..., Experiment]
AT = 1_764_000_000.0


def told(experiment: Experiment | None) -> str:
    # NaN differs from itself, its text does not.
    return repr(experiment)


@pytest.mark.parametrize("verdict", [None, *Verdict])
@pytest.mark.parametrize("pairs", [0, 3])
def test_an_experiment_comes_back_whole(
    history: History, build: Build, pairs: int, verdict: Verdict | None
) -> None:
    experiment = build("e1", pairs=pairs, verdict=verdict)
    history.record_experiment(experiment)
    assert told(history.experiment("e1")) == told(experiment)


def test_an_unknown_experiment_is_none(history: History) -> None:
    assert history.experiment("nobody") is None


def test_non_finite_figures_come_back(history: History, build: Build) -> None:
    limits = HardLimits(tail_factor=math.inf)
    experiment = build("e1", pairs=1)
    experiment = replace(
        experiment,
        plan=replace(experiment.plan, limits=limits, prior_sd=math.nan),
        looks=(Look(1, -math.inf, math.nan, 0.0, math.nan, -math.inf, math.inf),),
    )
    history.record_experiment(experiment)
    assert told(history.experiment("e1")) == told(experiment)


def split(experiment: Experiment) -> Experiment:
    """The experiment as run on two lanes, with all that can be measured."""
    guard = Guardrail("e2el_p95", 0.1, 0.2)
    plan = replace(
        experiment.plan,
        design=Design.SPLIT,
        guardrails=(guard, Guardrail("quality", 0.02)),
        covariates=("offered_load", "prompt_tokens"),
        price_per_hour=2.5,
        confirms="e0",
        limits=HardLimits(max_temperature_c=85.0, max_out_of_memory=1),
    )
    measured = SlotOutcome(
        20, 18, 1, 2, 50.0, 0.8, 0.05, 2.5, 2000, 900,
        e2el_p95_s=4.0, ttft_mean_s=0.3, energy_j=4200.0, quality=0.98, feedback=0.7,
        feedback_count=4, out_of_memory=1, temperature_max_c=71.0,
    )  # fmt: skip
    slots = tuple(
        replace(slot, outcome=measured, lane=slot.index % 2, lanes=2) for slot in experiment.slots
    )
    seen = GuardrailLook("quality", 1, 0.2, -math.inf, math.nan, -math.inf, 0.1)
    return replace(
        experiment,
        plan=plan,
        slots=slots,
        pairs=tuple(replace(p, treatment=measured, adjustment=0.07) for p in experiment.pairs),
        looks=tuple(replace(look, guardrails=(seen, seen)) for look in experiment.looks),
    )


def test_a_split_with_guardrails_comes_back_whole(history: History, build: Build) -> None:
    experiment = split(build("e1", verdict=Verdict.ACCEPTED))
    history.record_experiment(experiment)
    history.record_experiment(experiment)
    assert told(history.experiment("e1")) == told(experiment)


def test_the_same_value_again_writes_no_row(history: History, build: Build) -> None:
    history.record_experiment(split(build("e1")))
    written: list[str] = []

    def note(_c: object, _cur: object, statement: str, *_rest: object) -> None:
        if statement.lstrip().upper().startswith(("INSERT", "UPDATE", "DELETE")):
            written.append(statement)

    event.listen(history._db.engine, "before_cursor_execute", note)
    experiment = split(build("e1"))
    history.record_experiment(experiment)
    assert written == []
    history.record_experiment(replace(experiment, slots=experiment.slots[:-1]))
    assert [statement.split()[0] for statement in written] == ["DELETE"]


def test_a_cycle_writes_only_what_changed(history: History, build: Build) -> None:
    experiment = build("e1", pairs=1)
    history.record_experiment(experiment)
    grown = experiment.to(Phase.WASHOUT).with_slot(Slot(2, Arm.TREATMENT, 9, AT + 200))
    history.record_experiment(grown)
    assert told(history.experiment("e1")) == told(grown)
    counted = grown.with_slot(replace(grown.slots[2], excluded="the log had a hole"))
    history.record_experiment(counted)
    assert told(history.experiment("e1")) == told(counted)


def test_a_pair_that_was_taken_back_is_gone(history: History, build: Build) -> None:
    history.record_experiment(build("e1", pairs=3))
    fewer = build("e1", pairs=2)
    history.record_experiment(fewer)
    assert told(history.experiment("e1")) == told(fewer)


def test_a_verdict_is_never_rewritten(history: History, build: Build) -> None:
    history.record_experiment(build("e1", verdict=Verdict.ABORTED))
    with pytest.raises(HistoryError, match="closed as ABORTED"):
        history.record_experiment(build("e1"))
    with pytest.raises(HistoryError, match="can't become ACCEPTED"):
        history.record_experiment(build("e1", verdict=Verdict.ACCEPTED))
    history.record_experiment(build("e1", verdict=Verdict.ABORTED))


def test_what_was_told_once_is_kept(history: History, build: Build) -> None:
    history.record_experiment(build("e1"), predicted_effect=0.12)
    history.record_experiment(build("e1", verdict=Verdict.REJECTED), at=AT + 999)
    history.record_experiment(build("e1", verdict=Verdict.REJECTED))
    (summary,) = history.experiments()
    assert (summary.predicted_effect, summary.ended_at) == (0.12, AT + 999)


def test_the_end_is_the_last_slots_where_it_is_not_told(history: History, build: Build) -> None:
    history.record_experiment(build("e1", pairs=2, verdict=Verdict.REJECTED))
    history.record_experiment(build("e2", pairs=0, verdict=Verdict.INCONCLUSIVE))
    ends = {summary.id: summary.ended_at for summary in history.experiments()}
    assert ends == {"e1": AT + 240, "e2": AT}


def test_a_target_must_be_known(bare: History, build: Build) -> None:
    with pytest.raises(HistoryError, match="must be recorded before"):
        bare.record_experiment(build("e1"))
    assert bare.experiment("e1") is None


def test_orphans_are_closed(history: History, build: Build) -> None:
    history.record_experiment(build("done", verdict=Verdict.ACCEPTED))
    cut = build("cut", pairs=1).to(Phase.WASHOUT).with_slot(Slot(2, Arm.CONTROL, 9, AT + 130))
    history.record_experiment(cut)
    assert [e.id for e in history.open_experiments("chat")] == ["cut"]

    (closed,) = history.close_orphans("chat", AT + 500, "the daemon was restarted")

    assert history.open_experiments("chat") == []
    assert told(history.experiment("cut")) == told(closed)
    assert closed.conclusion is not None
    assert closed.conclusion.verdict is Verdict.ABORTED
    assert closed.conclusion.pairs == 1
    assert closed.slots[2].excluded == "the daemon was restarted"
    assert closed.slots[1].excluded is None
    assert history.experiments(verdict=Verdict.ABORTED)[0].ended_at == AT + 500
    assert history.close_orphans("chat", AT + 600, "again") == []


def test_trials_are_the_latest_finished_ones_in_order(history: History, build: Build) -> None:
    kinds = [Verdict.REJECTED, Verdict.ABORTED, Verdict.ACCEPTED, Verdict.HARMFUL]
    for number, verdict in enumerate(kinds):
        history.record_experiment(
            build(f"e{number}", pairs=number, at=AT + 1000 * number, verdict=verdict)
        )
    history.record_experiment(build("running", at=AT + 9000))
    trials = history.trials("chat", 10)
    assert [trial.verdict for trial in trials] == ["REJECTED", "ACCEPTED", "HARMFUL"]
    assert math.isnan(trials[0].effect)
    assert trials[1].effect == 0.3
    assert trials[1].treatment == build("x").treatment
    assert [trial.verdict for trial in history.trials("chat", 2)] == ["ACCEPTED", "HARMFUL"]
    assert history.trials("other", 10) == []


def test_a_list_goes_on_from_the_last_id_seen(history: History, build: Build) -> None:
    for number in range(5):
        # Two share a start: the order must still be total.
        history.record_experiment(
            build(f"e{number}", at=AT + number // 2, verdict=Verdict.REJECTED)
        )
    seen: list[str] = []
    while page := history.experiments(before=seen[-1] if seen else None, limit=2):
        seen += [summary.id for summary in page]
    assert seen == ["e4", "e3", "e2", "e1", "e0"]


def test_a_running_experiment_shows_its_last_look(history: History, build: Build) -> None:
    history.record_experiment(build("e1", pairs=3))
    (summary,) = history.experiments(target="chat")
    assert (summary.pairs, summary.effect, summary.high) == (3, 0.3, 0.4)
    assert summary.verdict is None
    assert summary.changed == {"max_num_seqs": (32, 64)}


def test_accepted_changes(history: History, build: Build) -> None:
    history.record_experiment(build("no", verdict=Verdict.REJECTED))
    history.record_experiment(build("yes", verdict=Verdict.ACCEPTED))
    assert [change.id for change in history.accepted_changes("chat")] == ["yes"]
