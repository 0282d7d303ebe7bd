"""No proposer wastes a proposal on what certainly fails: they all ask the same piece."""

from __future__ import annotations

from dataclasses import replace

from autotuner.agent.candidates import Admissible
from autotuner.domain.feasibility import Fault, Infeasible
from autotuner.domain.knobs import Knob, KnobSpace, Settings
from autotuner.domain.ports import ProposalContext, Workload
from autotuner.domain.slo import SLO

SPACE = KnobSpace((Knob("max_num_seqs", (8, 16, 32), memory="working"), Knob("k", (1, 2))))
CONTEXT = ProposalContext(
    SPACE, Settings({"max_num_seqs": 8, "k": 1}), SLO(ttft_s=1.0), Workload(1.0), None, 0.5
)


def test_settings_as_bad_as_those_that_failed_are_not_offered() -> None:
    failed = Infeasible(Settings({"max_num_seqs": 16, "k": 1}), Fault.RUN_MEMORY)
    larger, other = (Settings({"max_num_seqs": 32, "k": k}) for k in (1, 2))
    assert Admissible(CONTEXT)(larger)
    knowing = Admissible(replace(CONTEXT, infeasible=(failed,)))
    assert not knowing(failed.settings)
    assert not knowing(larger)
    assert knowing(other)
