"""How likely requests meet their targets in a replica's steady state. A part of the analytic model.

Waits have exponential tails beyond an atom at 0; a request keeps its gap target when no step that
is too long falls into its decoding, which is a Poisson count.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from autotuner.agent.fluid_flow import Flow, Replica
from autotuner.agent.latencies import SLOTable
from autotuner.agent.stepmodel import Floats

WINDOW_S = 120.0  # over which an overloaded system is judged
_ENDLESS_S = 1e9
_PASSED = 0.7  # of the others' load, that those who are let past do not see; chosen
_NEARLY_FULL = 0.97  # the formulas for waits hold below 1 only


@dataclass(frozen=True)
class Waits:
    """Waiting for the prompts' queue and for a seat: arrays [environment].

    Each has a load (1 is full), a chance of any wait, and a time that over (1 − load) is the scale
    of the wait.
    """

    queue_load: Floats
    queue_busy: Floats
    queue_s: Floats
    seat_load: Floats
    seat_busy: Floats
    seat_s: Floats

    @property
    def overload(self) -> Floats:
        return np.maximum(self.queue_load, self.seat_load)

    @property
    def mean_s(self) -> Floats:
        queue_room = 1 - np.minimum(self.queue_load, _NEARLY_FULL)
        seat_room = 1 - np.minimum(self.seat_load, _NEARLY_FULL)
        mean: Floats = (
            self.queue_busy * self.queue_s / queue_room + self.seat_busy * self.seat_s / seat_room
        )
        return mean


def waits(replica: Replica, flow: Flow) -> Waits:
    """Prompts as M/G/1 (Pollaczek-Khinchine), seats as M/G/m (Sakasegawa 1977's approximation).

    Replicas that share arrivals by their load wait about as rarely as one queue for all would
    (the same approximation).
    """
    calm = np.minimum(flow.load, _NEARLY_FULL)
    mean_s, square = replica.mean(flow.service_s), replica.mean(flow.service_s**2)
    queue_s = np.maximum(square / (2 * mean_s), 1e-6)
    replicas, seats = replica.serving.replicas, replica.seats
    pooled = np.sqrt(2 * (replicas + 1)) - 1
    in_queue_s = calm * queue_s / (1 - calm) * calm / np.maximum(flow.load, calm)
    others = 1 - 1 / seats  # a lone seat's request finds no other prompt before it
    stay_s = flow.stay_s + others * in_queue_s
    seat_load = replica.rate_rps * stay_s / seats
    taken = np.minimum(seat_load, _NEARLY_FULL)
    return Waits(
        queue_load=flow.load,
        queue_busy=others * calm**pooled,
        queue_s=queue_s,
        seat_load=seat_load,
        seat_busy=taken ** (np.sqrt(2 * (seats * replicas + 1)) - 1),
        seat_s=np.maximum(stay_s / seats, 1e-6),
    )


def timeout_delay(replica: Replica, flow: Flow) -> Floats:
    """The wait that the batching timeout adds: all of it unless the free places fill sooner."""
    free = np.maximum(replica.schedules.max_num_seqs - flow.decoding, 1.0)
    return np.minimum(replica.schedules.batch_timeout_s, free / replica.rate_rps) * 0.8


@dataclass(frozen=True)
class Turns:
    """How the order of admission shares out the waits, as factors [environment, point].

    `wait`: of the wait. `load`: of the load, as those see it who are let past the others.
    """

    wait: Floats
    load: Floats


def turns(replica: Replica, flow: Flow) -> Turns:
    """Under length grouping the short go first: the others wait for them.

    So the short can be served in time in a system that is full: what counts for them is, for the
    most part (the rest have aged), the load of their own kind.
    """
    grouped = replica.schedules.length_grouped[:, None]
    short = replica.prompt < replica.mean(replica.prompt)[:, None]
    stay_s = replica.weight * (flow.service_s + replica.output * flow.tpot_s[:, None])
    share = (stay_s * short).sum(1) / stay_s.sum(1)
    eased = 1 - _PASSED * (1 - share)[:, None]
    return Turns(
        wait=np.where(grouped, np.where(short, 0.5, 1.6), 1.0),
        load=np.where(grouped & short, eased, 1.0),
    )


def ttft_ok(slo: SLOTable, own_s: Floats, waits: Waits, turns: Turns, patience_s: Floats) -> Floats:
    """P(TTFT in time) per point. `patience_s` [environment]: the longest wait before clients leave.

    Where they never leave, an overloaded queue grows over the window (`WINDOW_S`).
    """
    target_s = slo.ttft_s[:, None]
    ahead_s = np.maximum(target_s - own_s, 0) / turns.wait
    queue_load, seat_load = (x[:, None] * turns.load for x in (waits.queue_load, waits.seat_load))
    queue = _wait_within(queue_load, waits.queue_busy, waits.queue_s, ahead_s, patience_s)
    seat = _wait_within(seat_load, waits.seat_busy, waits.seat_s, ahead_s, patience_s)
    overload = np.maximum(queue_load, seat_load)
    growth = np.maximum(1 - 1 / np.maximum(overload, 1e-9), 1e-9)
    early = np.minimum(1.0, target_s / (WINDOW_S * growth))
    endless = (overload > 1) & np.isinf(patience_s)[:, None]
    return queue * seat * np.where(endless, early, 1.0) * below(own_s / target_s, 0.08)


def _wait_within(
    load: Floats, busy: Floats, service_s: Floats, ahead_s: Floats, patience_s: Floats
) -> Floats:
    """P(the wait is at most `ahead_s`) per point, as `load` is; the others are [environment].

    The wait has an exponential tail beyond an atom at 0. Under a limited patience its density is
    cut off there, as in the M/M/1+D queue (Baccelli and Hebuterne 1981), which has a steady state
    at any load: proportional to exp(−(1 − load)/service · wait), rising where the load is above 1.
    """
    leaves = np.isfinite(patience_s)[:, None]
    steady = (load < _NEARLY_FULL) | (leaves & (load > 2 - _NEARLY_FULL))
    load = np.where(steady, load, _NEARLY_FULL)
    busy = np.where(load > 1, load, busy[:, None])
    rate = (1 - load) / service_s[:, None]
    longest_s = np.minimum(patience_s, _ENDLESS_S)[:, None]
    longest = np.exp(np.clip(-rate * longest_s, -50, 50))
    tail = np.exp(np.clip(-rate * np.minimum(ahead_s, longest_s), -50, 50))
    within: Floats = (1 - busy * tail) / (1 - load * busy * longest)
    return np.clip(within, 0.0, 1.0)


def gap_ok(replica: Replica, slo: SLOTable, flow: Flow, decode_s: Floats) -> Floats:
    """P(no step too long while decoding, and no preemption) per point."""
    s, rate = replica.serving.steps, replica.rate_rps
    target = slo.gap_max_s[:, None]
    softness = (0.05 + s.noise)[:, None]
    # The longest of some dozens of noisy steps lies about two deviations above the mean; of steps
    # with many prompt tokens a request meets few.
    lift = np.exp(2.0 * s.noise)[:, None]
    crowd_s = (flow.base_s + np.sqrt(flow.decoding) * s.decode_s)[:, None]
    chunk, computed = flow.chunk[:, None], replica.computed
    read_s = s.context_s[:, None] * replica.prompt_read
    together = rate * (flow.tpot_s + replica.schedules.batch_timeout_s) * replica.mean(computed)

    def too_long(tokens: Floats) -> Floats:
        # A prompt's last chunk attends to nearly all of it, and the longest gap is asked for.
        late = np.maximum(replica.prompt - tokens / 2, replica.prompt / 2)
        late = np.minimum(late, replica.serving.window[:, None])
        step_s = crowd_s + s.prefill_s[:, None] * tokens + read_s
        return 1 - below((step_s + s.pair_s[:, None] * tokens * late) / target, softness)

    backlog = np.minimum(flow.load, 1.0)[:, None]
    alone = too_long(np.minimum(chunk, computed + together[:, None]))
    hit = (1 - backlog) * alone + backlog * too_long(np.broadcast_to(chunk, alone.shape))
    per_s = (rate * replica.mean(hit))[:, None]
    base_ok = below(crowd_s * lift / target, softness)
    preempted = np.where(np.isfinite(target), flow.thrash[:, None] * replica.output, 0.0)
    ok: Floats = base_ok * np.exp(-per_s * decode_s - preempted / replica.prompt)
    return ok


def pace_ok(
    slo: SLOTable, tpot_s: Floats, e2el_s: Floats, alone_s: Floats, patience_s: Floats
) -> Floats:
    """P(TPOT and E2EL in time) per point, of those whose wait the client bears.

    `alone_s`: E2EL without waits, which no client with less patience sees the end of.
    """
    borne = below(alone_s / patience_s[:, None], 0.1)
    return (
        below(tpot_s / slo.tpot_s, 0.12)[:, None] * below(e2el_s / slo.e2el_s[:, None], 0.3) * borne
    )


def below(ratio: Floats, softness: Floats | float) -> Floats:
    """A smooth step: 1 when the ratio to the target is well below 1, 0 when well above."""
    x = np.log(np.maximum(ratio, 1e-12)) / softness
    return 1 / (1 + np.exp(np.clip(x * 1.7, -50, 50)))
