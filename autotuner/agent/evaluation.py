"""How good an agent is: regret by number of proposals on systems that training never saw.

The truth is the discrete-step simulator over a whole grid of settings; training used the analytic
model. The proposers see what they would see live: the step log, a sample of requests, and which
of their candidates won.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import product

import numpy as np

from autotuner.agent.artifact import AgentArtifact
from autotuner.agent.baselines import HillClimbProposer, RandomProposer, screened_random
from autotuner.agent.des import Trace, simulate
from autotuner.agent.latencies import SLOTable, attainment
from autotuner.agent.proposer import PPOProposer
from autotuner.agent.schedule import Schedule, ScheduleTable
from autotuner.agent.stepmodel import Floats, StepModel, StepTable
from autotuner.agent.systems import Systems, draw_systems
from autotuner.agent.traffic import Traffic, poisson_row
from autotuner.domain.experiment import Verdict
from autotuner.domain.knobs import Knob, KnobSpace, Settings
from autotuner.domain.ports import PastTrial, ProposalContext, Proposer, Workload
from autotuner.domain.slo import SLO
from autotuner.domain.telemetry import StepRecord

SPACE = KnobSpace(
    (
        Knob("max_num_seqs", (2, 4, 8, 16, 32, 64)),
        Knob("max_num_batched_tokens", (32, 64, 96, 128, 192, 256, 512, 1024, 2048)),
        Knob("batch_timeout_ms", (0, 20)),
        Knob("schedule_policy", ("fcfs", "length-grouped")),
    )
)
START = Settings(
    {
        "max_num_seqs": 64,
        "max_num_batched_tokens": 2048,
        "batch_timeout_ms": 0,
        "schedule_policy": "fcfs",
    }
)
_REPEATS = 2
_WON = 0.01  # a candidate better than the incumbent by this much wins its test


@dataclass(frozen=True)
class HeldOut:
    """One system with the true attainment of every settings of SPACE."""

    slo: SLO
    workload: Workload
    steps: tuple[StepRecord, ...]
    truth: Mapping[Settings, float]

    @property
    def best(self) -> float:
        return max(self.truth.values())


@dataclass(frozen=True)
class Evaluation:
    """Simple regret (best attainment of the grid less the incumbent's) after each proposal.

    `regret` maps a method to an array [system, proposals made, from 0 on].
    """

    agent: str
    seed: int
    regret: Mapping[str, Floats]

    def __str__(self) -> str:
        proposals = next(iter(self.regret.values())).shape[1]
        head = f"{'regret after':<18}" + "".join(f"{k:>9}" for k in range(proposals))
        lines = [f"{self.agent}: mean (median) over {self._systems} held-out systems", head]
        for method, table in self.regret.items():
            cells = "".join(f"{m:>9.3f}" for m in table.mean(axis=0))
            middle = "".join(f"{f'({m:.3f})':>9}" for m in np.median(table, axis=0))
            lines += [f"{method:<18}{cells}", f"{'':<18}{middle}"]
        return "\n".join(lines)

    @property
    def _systems(self) -> int:
        return len(next(iter(self.regret.values())))

    def score(self, proposals: int = 3) -> dict[str, object]:
        """The figures for the agent's card: mean regret after `proposals`, per method."""
        return {
            "metric": f"mean regret after {proposals} proposals",
            "systems": self._systems,
            "seed": self.seed,
            **{name: round(float(t[:, proposals].mean()), 4) for name, t in self.regret.items()},
        }


def evaluate(
    artifact: AgentArtifact,
    systems: int = 40,
    seed: int = 1000,
    proposals: int = 5,
    told: Callable[[int], None] = lambda _: None,
) -> Evaluation:
    """Every method on the same held-out systems; `told` hears the number of systems done.

    Takes some seconds per system on one core.
    """
    methods: dict[str, Proposer] = {
        "ppo": PPOProposer(artifact),
        "ppo-unscreened": PPOProposer(artifact, screen=False),
        "screened-random": screened_random(),
        "random": RandomProposer(),
        "hill-climb": HillClimbProposer(),
    }
    regret: dict[str, list[Floats]] = {name: [] for name in methods}
    held_out = held_out_systems(seed)
    for done in range(systems):
        system = next(held_out)
        for name, proposer in methods.items():
            regret[name].append(play(proposer, system, proposals, seed + done))
        told(done + 1)
    return Evaluation(artifact.card.name, seed, {k: np.array(v) for k, v in regret.items()})


def held_out_systems(seed: int) -> Iterator[HeldOut]:
    """An endless stream of random systems that can be served well and are not at START."""
    rng = np.random.default_rng(seed)
    while True:
        pool = draw_systems(rng, 16)
        for row in range(len(pool)):
            system = _measure(pool, row, rng)
            if system.best >= 0.5 and system.best - system.truth[START] >= 0.05:
                yield system


def play(proposer: Proposer, system: HeldOut, proposals: int, seed: int) -> Floats:
    """Regret before and after each proposal; a candidate that is better becomes the incumbent."""
    incumbent, past = START, list[PastTrial]()
    regret = [system.best - system.truth[START]]
    for k in range(proposals):
        context = ProposalContext(
            space=SPACE,
            incumbent=incumbent,
            slo=system.slo,
            workload=system.workload,
            window=None,
            attainment=system.truth[incumbent],
            steps=system.steps,
            past=tuple(past),
            seed=seed * 100 + k,
        )
        proposal = proposer.propose(context)
        if proposal is not None:
            effect = system.truth[proposal.settings] - system.truth[incumbent]
            verdict = Verdict.ACCEPTED if effect > _WON else Verdict.REJECTED
            past.append(PastTrial(incumbent, proposal.settings, effect, verdict))
            incumbent = proposal.settings if verdict is Verdict.ACCEPTED else incumbent
        regret.append(system.best - system.truth[incumbent])
    return np.array(regret)


def _measure(pool: Systems, row: int, rng: np.random.Generator) -> HeldOut:
    """Serve every settings of SPACE in the discrete-step simulator."""
    grid = [SPACE.at(place) for place in product(*(range(len(k.levels)) for k in SPACE))]
    rate, mix, slo = float(pool.rate_rps[row]), pool.mix.sampler(row), pool.slo.slo(row)
    model = pool.steps.model(row)
    length_s = min(max(200 / rate, 30.0), 2500 / rate, 8000 * (model.t0_s + model.decode_s))
    rows = [poisson_row(rng, rate, length_s, mix) for _ in range(_REPEATS)]
    repeat = np.tile(np.arange(_REPEATS), len(grid))
    run = simulate(
        Traffic.stack(rows).take(repeat),
        ScheduleTable.of([Schedule.of(s) for s in grid for _ in range(_REPEATS)]),
        StepTable.of([model] * len(repeat)),
        cap_s=length_s * 1.25,
        noise_rows=repeat,
        seed=int(rng.integers(2**31)),
    )
    table = SLOTable.of([slo] * len(repeat))
    shares = attainment(run.latencies, table, (0.15 * length_s, length_s))
    truth = np.nan_to_num(shares).reshape(len(grid), _REPEATS).mean(axis=1)
    prompt, output = mix.draw(rng, 300)
    workload = Workload(rate, prompt.tolist(), output.tolist())
    steps = _step_log(model, pool, row, rng)
    return HeldOut(slo, workload, steps, dict(zip(grid, truth.tolist(), strict=True)))


def _step_log(
    model: StepModel, pool: Systems, row: int, rng: np.random.Generator
) -> tuple[StepRecord, ...]:
    """What the step log holds after serving some requests under START."""
    rate = float(pool.rate_rps[row])
    traffic = Traffic.stack([poisson_row(rng, rate, 60 / rate, pool.mix.sampler(row))])
    run = simulate(
        traffic,
        ScheduleTable.of([Schedule.of(START)]),
        StepTable.of([model]),
        cap_s=90 / rate,
        trace=True,
    )
    assert run.trace is not None
    return tuple(step_records(run.trace, 0))[-1500:]


def step_records(trace: Trace, row: int) -> Iterator[StepRecord]:
    """One environment's steps as the target's step log would tell them."""
    for i in np.flatnonzero(trace.step_s[:, row] > 0):
        yield StepRecord(
            float(trace.end_s[i, row]),
            float(trace.step_s[i, row]),
            int(trace.decode_seqs[i, row]),
            int(trace.prefill_tokens[i, row]),
            int(trace.context_tokens[i, row]),
        )
