"""The steady state of one replica as a fixed point: how many decode, how full it is.

A part of the analytic model. It must not know SLOs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from autotuner.agent.schedule import ScheduleTable
from autotuner.agent.serving import ServingTable
from autotuner.agent.stepmodel import Floats
from autotuner.agent.systems import Systems

_ITERATIONS = 7
_FULL_SOFTNESS = 0.8  # of what so many requests hold, in deviations; chosen by the simulator's runs


@dataclass(frozen=True)
class Replica:
    """What one replica has to serve: arrays [environment] or, where said, [environment, point].

    `prompt`, `output`, `weight` [environment, point]: lengths in tokens and how common they are.
    `computed` [environment, point]: the prompt tokens that the prefix cache lacks. `read_tokens`:
    of KV for each token that decodes. `prompt_read` [environment, point]: of KV for a step with
    tokens of that prompt, on average. `room`: requests that the memory holds at once; `spread`: the
    relative deviation of what so many hold. `seats`: requests that run at once, at most.
    """

    serving: ServingTable
    schedules: ScheduleTable
    rate_rps: Floats
    prompt: Floats
    output: Floats
    weight: Floats
    computed: Floats
    mean_output: Floats
    read_tokens: Floats
    prompt_read: Floats
    room: Floats
    spread: Floats
    seats: Floats

    @classmethod
    def of(cls, systems: Systems, schedules: ScheduleTable, serving: ServingTable) -> Replica:
        prompt, output = systems.mix.prompt_tokens, systems.mix.output_tokens
        weight = systems.mix.weight
        mean_output = (weight * output).sum(1)
        by_token = weight * output / mean_output[:, None]  # who is seen running, by their length
        window = serving.window[:, None]
        seen = np.minimum(prompt, window)
        room, spread = _room(systems, serving, by_token)
        return cls(
            serving=serving,
            schedules=schedules,
            rate_rps=systems.rate_rps / serving.replicas,
            prompt=prompt,
            output=output,
            weight=weight,
            computed=np.maximum(prompt * (1 - serving.prefix_share[:, None]), 1.0),
            mean_output=mean_output,
            read_tokens=(by_token * np.minimum(prompt + output / 2, window)).sum(1),
            prompt_read=seen * (1 - seen / (2 * prompt)),
            room=room,
            spread=spread,
            seats=np.minimum(schedules.max_num_seqs, room),
        )

    def mean(self, per_point: Floats) -> Floats:
        """The mean over requests of values [environment, point]."""
        mean: Floats = (self.weight * per_point).sum(1)
        return mean


def _room(systems: Systems, serving: ServingTable, by_token: Floats) -> tuple[Floats, Floats]:
    """Requests that the memory holds at once, and the relative deviation of what so many hold.

    A request holds room for its whole length, or under optimistic admission its prompt and, on
    average, half its answer. The next in line may be too long for what is free, and on average
    leaves half of its need unused.
    """
    prompt, output = systems.mix.prompt_tokens, systems.mix.output_tokens
    weight, optimistic = systems.mix.weight, serving.optimistic[:, None]
    held = prompt + np.where(optimistic, 0.5, 1.0) * output
    needed = prompt + np.where(optimistic, 0.0, 1.0) * output
    unused = (weight * needed**2).sum(1) / (weight * needed).sum(1) / 2
    mean_held = (by_token * held).sum(1)
    room: Floats = np.maximum((serving.kv_tokens - unused) / mean_held, 1.0)
    spread: Floats = np.sqrt((by_token * held**2).sum(1) / room) / mean_held
    return room, spread


@dataclass(frozen=True)
class Flow:
    """The fixed point. [environment] or [environment, point].

    `thrash`: the share of time in which optimistic admission has filled the memory, and requests
    are preempted. `stay_s`: of a request in the batch, on average.
    """

    decoding: Floats
    chunk: Floats  # prompt tokens that fit a step
    base_s: Floats  # a step without prompt tokens
    service_s: Floats  # of a prompt, per point
    load: Floats
    tpot_s: Floats
    stay_s: Floats
    kv_load: Floats
    thrash: Floats


def fixed_point(replica: Replica) -> Flow:
    """Iterates a few times with damping; good enough where there is one fixed point.

    Optimistic admission takes in a prompt whenever it fits, so in a full cache the answers grow
    into room that only a preemption gives: for each request served, about as many tokens are
    computed again as its answer has.
    """
    r, s, rate = replica, replica.serving.steps, replica.rate_rps
    most = np.maximum(np.minimum(r.seats, r.schedules.max_num_batched_tokens - 1.0), 1.0)
    per_token_s = s.prefill_s[:, None] + s.pair_s[:, None] * r.prompt_read
    chunk_read_s = s.context_s[:, None] * r.prompt_read
    again = r.output * (1 - r.serving.prefix_share[:, None])
    softness = 0.05 + _FULL_SOFTNESS * r.spread
    others = 1 - 1 / r.seats  # in the batch, but for the one that is looked at
    tokens, thrash = r.computed, np.zeros(len(rate))
    decoding = np.minimum(rate * r.mean_output * (s.t0_s + s.decode_s), most)
    for _ in range(_ITERATIONS):
        chunk = np.maximum(r.schedules.max_num_batched_tokens - decoding, 1.0)
        base_s = s.t0_s + s.decode_s * decoding + s.context_s * decoding * r.read_tokens
        ratio = tokens / chunk[:, None]
        alone = np.where(ratio > 1, ratio + 0.5, 1.0)  # steps of a prompt that meets no other
        step_s = base_s[:, None] + chunk_read_s
        token_s = per_token_s * tokens
        full_s, alone_s = ratio * step_s + token_s, alone * step_s + token_s
        crowd = np.clip(rate * r.mean(full_s), 0, 1)[:, None]
        service_s = crowd * full_s + (1 - crowd) * alone_s
        mean_service_s = r.mean(service_s)
        load = rate * mean_service_s
        busy = np.minimum(load, 1.0) * others
        mixed_s = mean_service_s / r.mean(crowd * ratio + (1 - crowd) * alone)
        tpot_s = 1 / (busy / mixed_s + (1 - busy) / base_s)
        served = rate / np.maximum(load, 1.0)
        decoding = 0.5 * decoding + 0.5 * np.minimum(served * r.mean_output * tpot_s, most)
        stay_s = mean_service_s + r.mean_output * tpot_s
        wanted = np.minimum(rate * stay_s, r.schedules.max_num_seqs)
        kv_load = wanted / r.room
        full = 1 / (1 + np.exp(-np.log(np.maximum(kv_load, 1e-6)) / softness))
        thrash = 0.5 * thrash + 0.5 * np.where(r.serving.optimistic, full, 0.0)
        tokens = r.computed + thrash[:, None] * again
    return Flow(decoding, chunk, base_s, service_s, load, tpot_s, stay_s, kv_load, thrash)
