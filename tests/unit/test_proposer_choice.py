from __future__ import annotations

from typing import get_args

import pytest

from autotuner.bootstrap import build_proposer
from autotuner.config import load_policy
from autotuner.config.policy import Policy, ProposerConfig
from autotuner.domain.errors import ConfigError
from autotuner.domain.knobs import Knob, KnobSpace
from autotuner.domain.ports import PastTrial, Proposal, ProposalContext, Workload
from autotuner.domain.slo import SLO
from autotuner.resources import resource_folder

KINDS = get_args(ProposerConfig.model_fields["kind"].annotation)
SPACE = KnobSpace((Knob("max_num_seqs", (4, 8, 16)), Knob("max_num_batched_tokens", (64, 128))))


def policy(**proposer: object) -> Policy:
    return load_policy("default", resource_folder("policies")).model_copy(
        update={"proposer": ProposerConfig.model_validate(proposer)}
    )


def proposal_of(kind: str, trials: int = 0, **more: object) -> Proposal | None:
    start = SPACE.at((2, 1))
    lost = PastTrial(start, SPACE.at((0, 0)), -0.1, "REJECTED")
    lengths = [200, 900, 1500], [16, 40, 90]
    context = ProposalContext(
        SPACE, start, SLO(1.5, 0.1), Workload(1.0, *lengths), None, 0.4, past=(lost,) * trials
    )
    return build_proposer(policy(kind=kind, **more)).propose(context)


@pytest.mark.parametrize("kind", sorted(set(KINDS) - {"ppo", "ppo-tpe"}))
def test_the_policy_chooses_who_proposes(kind: str) -> None:
    proposal = proposal_of(kind)
    assert proposal is not None
    assert proposal.proposer == kind


def test_the_trained_agent_is_the_default() -> None:
    assert ProposerConfig().kind == "ppo"
    assert KINDS[0] == "ppo"


def test_tpe_takes_over_after_the_trials_that_the_policy_says() -> None:
    later = proposal_of("ppo-tpe", trials=2, takeover_after=2)
    assert later is not None
    assert later.proposer == "tpe"
    before = build_proposer(policy(kind="ppo-tpe", takeover_after=3))
    assert vars(before)["after"] == 3


def test_the_policy_says_what_serves_the_model() -> None:
    told = {"hardware": "H100", "model": "Llama-3.1-8B"}
    assert proposal_of("ppo", prior=told) != proposal_of("ppo")
    with pytest.raises(ConfigError, match=r"proposer\.prior: gpu='H1000': not in the table"):
        build_proposer(policy(prior=told | {"hardware": "H1000"}))
