"""Random served systems: a machine, a workload and an SLO each. The training's world."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from autotuner.agent.engine import EngineTable
from autotuner.agent.latencies import SLOTable
from autotuner.agent.machine import MachineTable, draw_machines, serve
from autotuner.agent.serving import ServingTable
from autotuner.agent.stepmodel import Bools, Floats, Ints, StepTable, log_uniform
from autotuner.agent.traffic import SampleMix

SHORT_POINTS = 4
LONG_POINTS = 3


@dataclass(frozen=True)
class Mix:
    """Request lengths as weighted points per environment: arrays [environment, point], tokens."""

    prompt_tokens: Floats
    output_tokens: Floats
    weight: Floats

    def take(self, rows: Ints) -> Mix:
        return Mix(self.prompt_tokens[rows], self.output_tokens[rows], self.weight[rows])

    def sampler(self, row: int) -> SampleMix:
        """Draws of one environment's lengths, each point spread by ±15% in five places."""
        spread = np.linspace(0.85, 1.15, 5)
        prompt = np.outer(self.prompt_tokens[row], spread).ravel()
        output = np.outer(self.output_tokens[row], spread[::-1]).ravel()
        weight = np.repeat(self.weight[row], len(spread))
        as_tokens = [np.maximum(1, np.rint(x)).astype(int).tolist() for x in (prompt, output)]
        return SampleMix(as_tokens[0], as_tokens[1], weight.tolist())


def points_of_sample(prompt_tokens: Floats, output_tokens: Floats) -> Mix:
    """A sample of requests as weighted points, finest in the tail of long prompts. One row.

    The cuts are quantiles of the prompt length. Each point is its bin's mean. Empty bins have
    weight 0.
    """
    order = np.argsort(prompt_tokens, kind="stable")
    prompt, output = prompt_tokens[order], output_tokens[order]
    cuts = np.rint(np.array([0, 0.25, 0.5, 0.75, 0.85, 0.9, 0.95, 1.0]) * len(prompt)).astype(int)
    bins = [slice(a, b) if b > a else slice(0, 1) for a, b in pairwise(cuts.tolist())]
    return Mix(
        np.array([[prompt[b].mean() for b in bins]]),
        np.array([[output[b].mean() for b in bins]]),
        np.diff(cuts)[None, :] / len(prompt),
    )


@dataclass(frozen=True)
class Systems:
    """Served systems side by side; every array's first axis is the environment.

    `prefix_share`: of the prompt tokens that the prefix cache already holds, 0..1. `patience_s`:
    after it a client whose request has not ended leaves, inf for never.
    """

    machines: MachineTable
    rate_rps: Floats
    mix: Mix
    slo: SLOTable
    prefix_share: Floats
    patience_s: Floats

    @classmethod
    def plain(cls, steps: StepTable, rate_rps: Floats, mix: Mix, slo: SLOTable) -> Systems:
        """Machines known by their steps alone: no KV limit, no prefix hits, endless patience."""
        return cls.of(MachineTable.of_steps(steps), rate_rps, mix, slo)

    @classmethod
    def of(cls, machines: MachineTable, rate_rps: Floats, mix: Mix, slo: SLOTable) -> Systems:
        """Without prefix hits, and with endless patience."""
        n = len(rate_rps)
        return cls(machines, rate_rps, mix, slo, np.zeros(n), np.full(n, np.inf))

    def __len__(self) -> int:
        return len(self.rate_rps)

    @property
    def steps(self) -> StepTable:
        """The machines' step times under their reference engines."""
        return self.machines.steps

    def serving(self, engines: EngineTable | None, optimistic: Bools) -> ServingTable:
        """How each system serves under its engine; None is the machines' references."""
        engines = self.machines.reference if engines is None else engines
        return serve(self.machines, engines, optimistic, self.prefix_share, self.patience_s)

    def take(self, rows: Ints) -> Systems:
        return Systems(
            self.machines.take(rows),
            self.rate_rps[rows],
            self.mix.take(rows),
            self.slo.take(rows),
            self.prefix_share[rows],
            self.patience_s[rows],
        )

    def with_rate(self, rate_rps: Floats) -> Systems:
        return replace(self, rate_rps=rate_rps)

    def with_prefix(self, share: float) -> Systems:
        """With this share of prompt tokens found in the prefix cache, 0..1, in each."""
        return replace(self, prefix_share=np.full(len(self), share))


def draw_systems(rng: np.random.Generator, n: int) -> Systems:
    """`n` random systems. Loads and SLOs are drawn in relation to the machine, all ranges chosen.

    A quarter have no long prompts. The gap target is the time of a step that carries 24 to 1,024
    prompt tokens on a CPU-like machine; a fifth have none, and then TPOT or E2EL takes its place.
    Half have memory for everything, the others for 2 to 48 requests. Most have no prefix hits, and
    clients who never leave. A quarter have more load than one device can serve.
    """
    machines = draw_machines(rng, n)
    steps, mix = machines.steps, _draw_mix(rng, n)
    prompt = (mix.prompt_tokens * mix.weight).sum(1)
    output = (mix.output_tokens * mix.weight).sum(1)
    context_s = steps.context_s * (prompt + output / 2) * output
    work_s = (
        steps.prefill_s * prompt
        + steps.decode_s * output
        + context_s
        + steps.t0_s * (prompt / 192 + output / 12)
    )
    rate = rng.uniform(0.2, 1.0, n) / work_s
    slo = _draw_slo(rng, n, steps, mix)
    own = rng.spawn(1)[0]
    busy = own.random(n) < 0.25
    rate = rate * np.where(busy, machines.cores ** own.uniform(0.0, 1.0, n), 1.0)
    return Systems(
        _with_memory(own, machines, mix),
        rate,
        mix,
        slo,
        np.where(own.random(n) < 0.3, own.uniform(0.05, 0.7, n), 0.0),
        np.where(own.random(n) < 0.3, _draw_patience(own, slo, output, steps), np.inf),
    )


def _with_memory(rng: np.random.Generator, machines: MachineTable, mix: Mix) -> MachineTable:
    """A KV limit for half of them, in whole requests; half of these have it beside the weights."""
    n = len(machines)
    length = mix.prompt_tokens + mix.output_tokens
    requests = log_uniform(rng, (2.0, 48.0), n)
    longest = (length * (mix.weight > 0)).max(1)
    room = np.maximum((length * mix.weight).sum(1) * requests, 1.2 * longest)
    limited, beside = rng.random(n) < 0.5, rng.random(n) < 0.5
    weights = room * log_uniform(rng, (0.1, 1.0), n)
    return replace(
        machines,
        kv_tokens=np.where(limited, room, np.inf),
        weights_kv_tokens=np.where(limited & beside, weights, 0.0),
    )


def _draw_patience(
    rng: np.random.Generator, slo: SLOTable, output: Floats, steps: StepTable
) -> Floats:
    """Seconds: several times what an answer takes in a batch of 8, and the wait that is allowed."""
    answer_s = output * (steps.t0_s + 8 * steps.decode_s)
    wait_s = np.where(np.isfinite(slo.ttft_s), slo.ttft_s, 0.0)
    return (answer_s + wait_s) * log_uniform(rng, (2.0, 20.0), len(output))


def _draw_mix(rng: np.random.Generator, n: int) -> Mix:
    spread_short, spread_long = (
        np.linspace(0.5, 1.6, SHORT_POINTS),
        np.linspace(0.7, 1.3, LONG_POINTS),
    )
    short = log_uniform(rng, (32.0, 400.0), n)
    long = short * log_uniform(rng, (3.0, 20.0), n)
    share = np.where(rng.random(n) < 0.25, 0.0, rng.uniform(0.02, 0.3, n))
    output = log_uniform(rng, (12.0, 200.0), n)
    prompt = np.hstack([np.outer(short, spread_short), np.outer(long, spread_long)])
    outputs = np.outer(output, np.array([0.4, 1.6, 0.7, 1.3, 0.5, 1.0, 1.5]))
    weight = np.hstack(
        [
            np.repeat((1 - share)[:, None] / SHORT_POINTS, SHORT_POINTS, axis=1),
            np.repeat(share[:, None] / LONG_POINTS, LONG_POINTS, axis=1),
        ]
    )
    return Mix(np.maximum(prompt, 1), np.maximum(outputs, 2), weight)


def _draw_slo(rng: np.random.Generator, n: int, steps: StepTable, mix: Mix) -> SLOTable:
    longest = (mix.prompt_tokens * (mix.weight > 0)).max(1)
    prompt = (mix.prompt_tokens * mix.weight).sum(1)
    output = (mix.output_tokens * mix.weight).sum(1)
    alone_s = steps.prefill_s * longest + steps.t0_s * (1 + longest / 256)
    ttft = np.maximum(alone_s * log_uniform(rng, (0.8, 8.0), n), 0.02)
    batch = log_uniform(rng, (4.0, 24.0), n)
    decode_step = steps.t0_s + steps.decode_s * batch + steps.context_s * batch * (prompt + output)
    carried = log_uniform(rng, (24.0, 1024.0), n)
    gap = decode_step + steps.prefill_s * carried
    tpot = decode_step * log_uniform(rng, (1.2, 4.0), n)
    e2el = ttft + output * tpot * 1.5
    no_gap = rng.random(n) < 0.2
    asks_tpot = (rng.random(n) < 0.2) | (no_gap & (rng.random(n) < 0.7))
    asks_e2el = rng.random(n) < 0.15
    return SLOTable(
        ttft_s=np.where(rng.random(n) < 0.95, ttft, np.inf),
        gap_max_s=np.where(no_gap, np.inf, gap),
        tpot_s=np.where(asks_tpot, tpot, np.inf),
        e2el_s=np.where(asks_e2el, e2el, np.inf),
    )
