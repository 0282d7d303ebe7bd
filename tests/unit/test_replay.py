"""The simulated target keeps a worker's rules: generations, levels, a log with cursors."""

from __future__ import annotations

import pytest

from autotuner.agent.replay_system import SimulatedSystem
from autotuner.agent.stepmodel import StepModel
from autotuner.agent.traffic import ClassMix, TokenClass
from autotuner.domain.errors import SettingsRefusedError, StaleGenerationError
from autotuner.domain.knobs import Knob, KnobSpace, Settings
from autotuner.domain.slo import SLO
from autotuner.replay import SimulatedTarget

SPACE = KnobSpace((Knob("max_num_seqs", (8, 16)), Knob("max_num_batched_tokens", (128, 512))))
FIRST = Settings({"max_num_seqs": 8, "max_num_batched_tokens": 512})
MIX = ClassMix((TokenClass(1.0, (16, 64), (4, 16)),))
WANTED = SLO(ttft_s=1.0)


@pytest.fixture
def target() -> SimulatedTarget:
    model = StepModel(t0_s=6e-3, decode_s=0.5e-3, prefill_s=0.4e-3, context_s=4e-6, noise=0.0)
    return SimulatedTarget(SimulatedSystem(model, lambda _: 4.0, MIX, FIRST, seed=1), SPACE, FIRST)


def test_what_was_served_is_read_by_cursor_and_by_any_reader(target: SimulatedTarget) -> None:
    target.advance(10.0, WANTED)
    first = target.exposures(0)
    target.advance(20.0, WANTED)
    second = target.exposures(first.next)
    assert len(first.exposures) > 10
    assert second.exposures[0].seq == first.next + 1
    assert target.exposures(0).exposures == first.exposures + second.exposures
    assert len(target.seen) == second.next == target.snapshot().counters["requests"]
    assert second.now == 20.0


def test_the_system_and_the_log_agree_on_generations(target: SimulatedTarget) -> None:
    live = target.read_settings()
    applied = target.apply(FIRST.with_values(max_num_seqs=16), live, "a test")
    assert applied.generation == live.generation + 1
    target.advance(10.0, WANTED)
    seen = target.exposures(0)
    assert {e.generation_start for e in seen.exposures} == {applied.generation}
    assert set(seen.in_flight) <= {applied.generation}


def test_what_no_worker_would_take_is_refused(target: SimulatedTarget) -> None:
    live = target.read_settings()
    with pytest.raises(SettingsRefusedError, match="max_num_seqs=9"):
        target.apply(FIRST.with_values(max_num_seqs=9), live, "a test")
    target.apply(FIRST, live, "a test")
    with pytest.raises(StaleGenerationError):
        target.apply(FIRST, live, "a test")
