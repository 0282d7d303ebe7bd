"""How good an agent is: regret by number of proposals on systems that training never saw.

The truth is the discrete-step simulator over a whole grid of settings; training used the analytic
model. The proposers see what they would see live: the step log, a sample of requests, and which
of their candidates won.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from autotuner.agent.artifact import AgentArtifact
from autotuner.agent.baselines import (
    GridProposer,
    HillClimbProposer,
    RandomProposer,
    screened_random,
)
from autotuner.agent.des import Simulated, Trace, simulate
from autotuner.agent.engine import Engine, EngineTable
from autotuner.agent.fluid import predict
from autotuner.agent.latencies import SLOTable, attainment
from autotuner.agent.optuna_search import gp, tpe
from autotuner.agent.proposer import PPOProposer
from autotuner.agent.reactive import AIMDProposer
from autotuner.agent.schedule import Schedule, ScheduleTable
from autotuner.agent.stepmodel import Bools, Floats, Ints
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
ENGINE_SPACE = KnobSpace(
    (
        Knob("max_num_seqs", (4, 16, 64)),
        Knob("max_num_batched_tokens", (64, 256, 1024)),
        Knob("memory_efficient", (False, True)),
        Knob("weight_dtype", ("float32", "bfloat16", "int8"), live=False),
        Knob("tensor_parallel_size", (1, 2), live=False),
        Knob("num_threads", (1, 2), live=False),
    )
)
ENGINE_START = Settings(
    {
        "max_num_seqs": 64,
        "max_num_batched_tokens": 1024,
        "memory_efficient": False,
        "weight_dtype": "float32",
        "tensor_parallel_size": 1,
        "num_threads": 1,
    }
)
# Systems take turns with them.
SPACES: Mapping[str, tuple[KnobSpace, Settings]] = {
    "scheduling": (SPACE, START),
    "engine": (ENGINE_SPACE, ENGINE_START),
}
_REPEATS = 2
_WON = 0.01  # a candidate better than the incumbent by this much wins its test


@dataclass(frozen=True)
class HeldOut:
    """One system with the true attainment of every settings of its space.

    `steps`: what the step log holds after serving some requests under given settings. `kind`: the
    space's name in SPACES.
    """

    slo: SLO
    workload: Workload
    steps: Callable[[Settings], Sequence[StepRecord]]
    truth: Mapping[Settings, float]
    kind: str = "scheduling"

    @property
    def space(self) -> KnobSpace:
        return SPACES[self.kind][0]

    @property
    def start(self) -> Settings:
        return SPACES[self.kind][1]

    @property
    def best(self) -> float:
        return max(self.truth.values())


@dataclass(frozen=True)
class Evaluation:
    """Simple regret (best attainment of the grid less the incumbent's) after each proposal.

    `regret` maps a method to an array [system, proposals made, from 0 on]; `kinds` tells each
    system's space.
    """

    agent: str
    seed: int
    regret: Mapping[str, Floats]
    kinds: Sequence[str] = ()

    def __str__(self) -> str:
        return "\n".join([self._block("", np.full(self.systems, True)), *self._by_kind()])

    @property
    def systems(self) -> int:
        return len(next(iter(self.regret.values())))

    def score(self, proposals: int = 3) -> dict[str, object]:
        """The figures for the agent's card: mean regret after `proposals`, per method."""
        return {
            "metric": f"mean regret after {proposals} proposals",
            "systems": self.systems,
            "seed": self.seed,
            **{name: round(float(t[:, proposals].mean()), 4) for name, t in self.regret.items()},
        }

    def as_dict(self) -> dict[str, object]:
        """Plain values: per method the mean and the median regret after each proposal."""
        return {
            "agent": self.agent,
            "seed": self.seed,
            "systems": self.systems,
            "regret": {
                name: {
                    "mean": table.mean(axis=0).round(4).tolist(),
                    "median": np.median(table, axis=0).round(4).tolist(),
                }
                for name, table in self.regret.items()
            },
        }

    def _by_kind(self) -> Iterator[str]:
        """A block per space where the systems have more than one."""
        if len(set(self.kinds)) > 1:
            for kind in dict.fromkeys(self.kinds):
                yield self._block(f", {kind} knobs", np.array(self.kinds) == kind)

    def _block(self, what: str, rows: Bools) -> str:
        chosen = {name: table[rows] for name, table in self.regret.items()}
        systems, proposals = next(iter(chosen.values())).shape
        head = f"{'regret after':<18}" + "".join(f"{k:>9}" for k in range(proposals))
        lines = [f"{self.agent}: mean (median) over {systems} held-out systems{what}", head]
        for method, table in chosen.items():
            cells = "".join(f"{m:>9.3f}" for m in table.mean(axis=0))
            middle = "".join(f"{f'({m:.3f})':>9}" for m in np.median(table, axis=0))
            lines += [f"{method:<18}{cells}", f"{'':<18}{middle}"]
        return "\n".join(lines)


def methods(artifact: AgentArtifact) -> dict[str, Proposer]:
    """The agent, parts of it, and what a user would otherwise run."""
    return {
        "ppo": PPOProposer(artifact),
        "ppo-unscreened": PPOProposer(artifact, screen=False),
        "screened-random": screened_random(),
        "tpe": tpe(),
        "gp": gp(),
        "random": RandomProposer(),
        "grid": GridProposer(),
        "hill-climb": HillClimbProposer(),
        "aimd": AIMDProposer(),
    }


def evaluate(
    artifact: AgentArtifact,
    systems: int = 40,
    seed: int = 1000,
    proposals: int = 5,
    told: Callable[[int], None] = lambda _: None,
) -> Evaluation:
    """Every method on the same held-out systems; `told` hears the number of systems done.

    Takes ten to twenty seconds per system on one core.
    """
    players = methods(artifact)
    regret: dict[str, list[Floats]] = {name: [] for name in players}
    held_out, kinds = held_out_systems(seed), []
    for done in range(systems):
        system = next(held_out)
        kinds.append(system.kind)
        for name, proposer in players.items():
            regret[name].append(play(proposer, system, proposals, seed + done))
        told(done + 1)
    tables = {name: np.array(rows) for name, rows in regret.items()}
    return Evaluation(artifact.card.name, seed, tables, kinds)


def held_out_systems(seed: int) -> Iterator[HeldOut]:
    """An endless stream of random systems that can be served well and don't begin at their best."""
    rng = np.random.default_rng(seed)
    kinds, found = list(SPACES), 0
    while True:
        pool = draw_systems(rng, 16)
        for row in range(len(pool)):
            one, kind = pool.take(np.array([row])), kinds[found % len(kinds)]
            if not _promising(one, kind):
                continue
            system = _measure(one, kind, rng)
            if system.best >= 0.5 and system.best - system.truth[system.start] >= 0.05:
                found += 1
                yield system


def _promising(one: Systems, kind: str) -> bool:
    """Whether it may be worth the seconds that measuring takes, by the analytic model."""
    space, start = SPACES[kind]
    grid = _grid(space)
    many = one.take(np.zeros(len(grid), dtype=np.int64))
    schedules = ScheduleTable.of([Schedule.of(settings) for settings in grid])
    told = predict(many, schedules, _engines(grid)).attainment
    return bool(told.max() >= 0.4 and told.max() - told[grid.index(start)] >= 0.03)


def _grid(space: KnobSpace) -> list[Settings]:
    return [space.at(place) for place in product(*(range(len(knob.levels)) for knob in space))]


def _engines(settings: Sequence[Settings]) -> EngineTable | None:
    """None, the machine's reference engine, where the space has no engine knob."""
    if "weight_dtype" not in settings[0]:
        return None
    return EngineTable.of([Engine.of(one) for one in settings])


def play(proposer: Proposer, system: HeldOut, proposals: int, seed: int) -> Floats:
    """Regret before and after each proposal; a candidate that is better becomes the incumbent."""
    incumbent, past = system.start, list[PastTrial]()
    regret = [system.best - system.truth[incumbent]]
    steps = system.steps(incumbent)
    for k in range(proposals):
        context = ProposalContext(
            space=system.space,
            incumbent=incumbent,
            slo=system.slo,
            workload=system.workload,
            window=None,
            attainment=system.truth[incumbent],
            steps=steps,
            past=tuple(past),
            seed=seed * 100 + k,
        )
        proposal = proposer.propose(context)
        if proposal is not None:
            effect = system.truth[proposal.settings] - system.truth[incumbent]
            verdict = Verdict.ACCEPTED if effect > _WON else Verdict.REJECTED
            past.append(PastTrial(incumbent, proposal.settings, effect, verdict))
            if verdict is Verdict.ACCEPTED:
                incumbent = proposal.settings
                steps = system.steps(incumbent)
        regret.append(system.best - system.truth[incumbent])
    return np.array(regret)


def _measure(one: Systems, kind: str, rng: np.random.Generator) -> HeldOut:
    """Serve every settings of the space on the one system in the discrete-step simulator."""
    space, _ = SPACES[kind]
    grid = _grid(space)
    rate, mix, slo = float(one.rate_rps[0]), one.mix.sampler(0), one.slo.slo(0)
    model = one.steps.model(0)
    length_s = min(max(200 / rate, 30.0), 2500 / rate, 8000 * (model.t0_s + model.decode_s))
    rows = [poisson_row(rng, rate, length_s, mix) for _ in range(_REPEATS)]
    repeat = np.tile(np.arange(_REPEATS), len(grid))
    settings = [s for s in grid for _ in range(_REPEATS)]
    traffic = Traffic.stack(rows).take(repeat)
    run = _serve(one, traffic, settings, length_s * 1.25, int(rng.integers(2**31)), repeat=repeat)
    table = SLOTable.of([slo] * len(settings))
    shares = attainment(run.latencies, table, (0.15 * length_s, length_s))
    truth = np.nan_to_num(shares).reshape(len(grid), _REPEATS).mean(axis=1)
    prompt, output = mix.draw(rng, 300)
    workload = Workload(rate, prompt.tolist(), output.tolist())
    seed = int(rng.integers(2**31))
    return HeldOut(
        slo,
        workload,
        lambda served: _step_log(one, served, seed),
        dict(zip(grid, truth.tolist(), strict=True)),
        kind,
    )


def _step_log(one: Systems, settings: Settings, seed: int) -> tuple[StepRecord, ...]:
    rng = np.random.default_rng(seed)
    rate = float(one.rate_rps[0])
    traffic = Traffic.stack([poisson_row(rng, rate, 60 / rate, one.mix.sampler(0))])
    run = _serve(one, traffic, [settings], 90 / rate, seed, trace=True)
    assert run.trace is not None
    return tuple(step_records(run.trace, 0))[-1500:]


def _serve(
    one: Systems,
    traffic: Traffic,
    settings: Sequence[Settings],
    cap_s: float,
    seed: int,
    *,
    repeat: Ints | None = None,
    trace: bool = False,
) -> Simulated:
    """One row of `traffic` per settings on the one system."""
    many = one.take(np.zeros(len(settings), dtype=np.int64))
    schedules = ScheduleTable.of([Schedule.of(s) for s in settings])
    serving = many.serving(_engines(settings), schedules.memory_efficient)
    return simulate(
        traffic, schedules, serving, cap_s=cap_s, noise_rows=repeat, seed=seed, trace=trace
    )


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
