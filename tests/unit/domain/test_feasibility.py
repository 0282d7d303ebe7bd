"""What failed, and what is then certainly as bad: sound for any space, and never more than that."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotuner.domain.feasibility import EngineFault, Fault, Infeasible, fault_of, ruled_out
from autotuner.domain.knobs import Knob, KnobSpace, Settings

SPACE = KnobSpace(
    (
        Knob("max_num_seqs", (8, 16, 32, 64), memory="working"),
        Knob("max_num_batched_tokens", (256, 512, 1024), memory="working"),
        Knob("gpu_memory_utilization", (0.7, 0.8, 0.9), memory="reserved"),
        Knob("schedule_policy", ("fcfs", "priority")),
    )
)
settings = st.builds(SPACE.at, st.tuples(*(st.integers(0, len(k.levels) - 1) for k in SPACE)))
faults = st.sampled_from(Fault)
OF_MEMORY = (Fault.RUN_MEMORY, Fault.KILLED, Fault.START_MEMORY, Fault.START_KV)
MIDDLE = Settings(
    {
        "max_num_seqs": 16,
        "max_num_batched_tokens": 512,
        "gpu_memory_utilization": 0.8,
        "schedule_policy": "fcfs",
    }
)


def needs(fault: Fault, s: Settings) -> tuple[float, ...]:
    """A model of each fault in which more is worse, component by component."""
    working = (float(s["max_num_seqs"]), float(s["max_num_batched_tokens"]))
    share = float(s["gpu_memory_utilization"])
    return (*working, {Fault.START_KV: -share, Fault.START_MEMORY: 0.0}.get(fault, share))


@given(failed=settings, candidate=settings, fault=faults)
def test_exactly_what_is_at_least_as_bad_is_ruled_out(
    failed: Settings, candidate: Settings, fault: Fault
) -> None:
    same_others = failed["schedule_policy"] == candidate["schedule_policy"]
    pairs = zip(needs(fault, candidate), needs(fault, failed), strict=True)
    as_bad = fault in OF_MEMORY and same_others and all(new >= old for new, old in pairs)
    said = ruled_out(SPACE, [Infeasible(failed, fault)], candidate)
    assert (said is not None) == (as_bad or candidate == failed)


@given(failed=settings, middle=settings, candidate=settings, fault=faults)
def test_what_follows_from_a_consequence_follows_from_the_failure(
    failed: Settings, middle: Settings, candidate: Settings, fault: Fault
) -> None:
    def bad(known: Settings, asked: Settings) -> bool:
        return ruled_out(SPACE, [Infeasible(known, fault)], asked) is not None

    if bad(failed, middle) and bad(middle, candidate):
        assert bad(failed, candidate)


@given(known=st.lists(st.builds(Infeasible, settings, faults), max_size=4), candidate=settings)
def test_more_knowledge_never_allows_more(known: list[Infeasible], candidate: Settings) -> None:
    if ruled_out(SPACE, known[:-1], candidate) is not None:
        assert ruled_out(SPACE, known, candidate) is not None


@pytest.mark.parametrize(
    ("fault", "changes", "out"),
    [
        (Fault.RUN_MEMORY, {"max_num_seqs": 32}, True),
        (Fault.RUN_MEMORY, {"gpu_memory_utilization": 0.7}, False),
        (Fault.START_KV, {"gpu_memory_utilization": 0.7}, True),
        (Fault.START_KV, {"gpu_memory_utilization": 0.9}, False),
        (Fault.START_MEMORY, {"gpu_memory_utilization": 0.9}, True),
        (Fault.START_MEMORY, {"max_num_batched_tokens": 256}, False),
        (Fault.REFUSED, {"max_num_seqs": 32}, False),
        (Fault.KILLED, {"schedule_policy": "priority"}, False),
    ],
)
def test_the_two_kinds_of_memory_call_for_opposite_moves(
    fault: Fault, changes: dict[str, float], out: bool
) -> None:
    known = [Infeasible(MIDDLE, fault, "the log's words")]
    said = ruled_out(SPACE, known, MIDDLE.with_values(**changes))
    assert (said is not None) == out
    if said is not None:
        assert f"{fault.in_words}: the log's words" in said
        assert "takes at least as much memory" in said


def test_a_failure_under_another_policy_bars_nothing_else() -> None:
    """A knob that the policy had or has not: nobody knows what it was."""
    older = Infeasible(Settings({"max_num_seqs": 8}), Fault.RUN_MEMORY)
    assert ruled_out(SPACE, [older], MIDDLE) is None
    fewer = KnobSpace(SPACE.knobs[:1])
    known = [Infeasible(MIDDLE, Fault.RUN_MEMORY)]
    assert ruled_out(fewer, known, Settings({"max_num_seqs": 64})) is None


def test_a_knob_that_says_nothing_of_memory_has_to_be_equal() -> None:
    space = KnobSpace((Knob("k", (1, 2)),))
    known = [Infeasible(Settings({"k": 1}), Fault.RUN_MEMORY)]
    assert ruled_out(space, known, Settings({"k": 2})) is None


def test_a_fault_of_a_newer_target_is_the_settings_own_and_rules_out_least() -> None:
    assert fault_of("start-kv") is Fault.START_KV
    assert fault_of("melted") is Fault.CRASHED
    assert [fault for fault in Fault if not fault.of_the_settings] == [Fault.PORT]


def test_a_failure_concerns_the_settings_that_agree_with_all_that_is_told() -> None:
    fault = EngineFault(1.0, Fault.HUNG, "", {"max_num_seqs": 16, "other": 3})
    assert fault.concerns(MIDDLE)
    assert not fault.concerns(MIDDLE.with_values(max_num_seqs=8))
    assert not EngineFault(1.0, Fault.HUNG, "", {"other": 3}).concerns(MIDDLE)
