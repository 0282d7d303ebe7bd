"""The agent reckons with other servers' knobs as with its own."""

from __future__ import annotations

import numpy as np

from autotuner.agent.candidates import Openings
from autotuner.agent.engine import Engine
from autotuner.agent.ladder import BUDGET, SEQS, SpaceLadder
from autotuner.agent.reach import Reach
from autotuner.agent.schedule import Schedule
from autotuner.domain.constraints import parse_constraint
from autotuner.domain.knobs import Knob, KnobSpace, Settings
from autotuner.domain.ports import ProposalContext, Workload
from autotuner.domain.slo import SLO

SGLANG = KnobSpace(
    (
        Knob("max_running_requests", (16, 64, 256), live=False),
        Knob("chunked_prefill_size", (2048, 8192), live=False),
        Knob("max_concurrency", (8, 32, 4096)),
    ),
    (parse_constraint("max_running_requests <= chunked_prefill_size"),),
)
NOW = Settings({"max_running_requests": 64, "chunked_prefill_size": 2048, "max_concurrency": 32})


def reach(space: KnobSpace = SGLANG, incumbent: Settings = NOW) -> Reach:
    openings = Openings.of(
        ProposalContext(space, incumbent, SLO(ttft_s=1.0), Workload(1.0), None, 0.5)
    )
    assert openings is not None
    return Reach.of(openings)


def test_a_schedule_is_read_from_any_servers_names() -> None:
    told = Schedule.of(NOW)
    assert (told.max_num_seqs, told.max_num_batched_tokens) == (32, 2048)
    assert Engine.of({"tp_size": 4, "dp_size": 2}).devices == 8


def test_walks_move_the_servers_own_knob_up_to_the_cap() -> None:
    ladder = SpaceLadder.of(SGLANG, NOW)
    assert ladder.ladder.levels[0, SEQS].tolist() == [16, 32, 32]
    assert ladder.ladder.live[0, [SEQS, BUDGET]].tolist() == [False, False]
    up = ladder.start.copy()
    up[SEQS], up[BUDGET] = 2, 1
    moved = ladder.settings(up.tolist())
    assert moved == NOW.with_values(max_running_requests=256, chunked_prefill_size=8192)


def test_every_place_is_valued_with_the_smaller_of_batch_and_cap() -> None:
    here = reach()
    places = np.array([[0, 0, 2], [2, 1, 1], [2, 0, 0], [2, 0, 2]])
    told = here.schedules(places)
    assert told.max_num_seqs.tolist() == [16, 32, 8, 256]
    assert told.max_num_batched_tokens.tolist() == [2048, 8192, 2048, 2048]
    assert here.known().tolist() == [True, True, True]


def test_a_cap_alone_stands_for_the_batch() -> None:
    space = KnobSpace((Knob("max_concurrency", (8, 32, 4096)), Knob("max_queue", (0, 64))))
    here = reach(space, Settings({"max_concurrency": 32, "max_queue": 0}))
    assert here.known().tolist() == [True, False]
    assert here.schedules(np.array([[0, 0], [2, 1]])).max_num_seqs.tolist() == [8, 4096]
    ladder = SpaceLadder.of(space, here.incumbent)
    up = ladder.start.copy()
    up[SEQS] = 2
    assert ladder.settings(up.tolist()) == here.incumbent.with_values(max_concurrency=4096)


def test_no_proposer_is_offered_what_breaks_a_constraint() -> None:
    space = KnobSpace(
        (Knob("max_num_seqs", (64, 512)), Knob("max_num_batched_tokens", (256, 1024))),
        (parse_constraint("max_num_seqs <= max_num_batched_tokens"),),
    )
    incumbent = Settings({"max_num_seqs": 64, "max_num_batched_tokens": 1024})
    openings = Openings.of(
        ProposalContext(space, incumbent, SLO(ttft_s=1.0), Workload(1.0), None, 0.5)
    )
    assert openings is not None
    rng = np.random.default_rng(0)
    drawn = {openings.draw(rng) for _ in range(50)}
    assert drawn == {
        incumbent.with_values(max_num_seqs=512),
        incumbent.with_values(max_num_batched_tokens=256),
    }
