"""What one slot served, request by request; never which arm was better."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from autotuner.abtest.readings import energy_j, hottest_c, out_of_memory
from autotuner.abtest.view import View
from autotuner.domain.experiment import Arm, Experiment, Guardrail, Plan, Slot, SlotOutcome
from autotuner.domain.measures import measure
from autotuner.domain.slo import SLO
from autotuner.domain.telemetry import Exposure, FeedbackScore, Outcome, ProbeReading


def slot_outcome(
    view: View, slot: Slot, ended_at: float, plan: Plan, slo: SLO, unfinished: int = 0
) -> SlotOutcome:
    """The outcome of `slot`, whose settings stopped to act at `ended_at` or later.

    Its requests are those that its lane admitted in [counted_from, ended_at − cooldown_s]. One that
    ended under the same generation counts; one that ended under a later one counts, as missed, only
    if a deadline had passed before `ended_at`. A request that its client gave up counts, as missed,
    only if a deadline had passed when it left (`SLO.counts`): an arm so slow that clients leave
    must not lose its worst requests, and a client that left in time accuses nobody. It is no
    failure: the limit on errors does not see it. A request whose times are no numbers counts
    nowhere: a broken measurement is no miss. Those that did not end in the slot enter the times of
    first tokens and whole requests with the time that they had spent in it, which is less than they
    would have: else a slow arm would lose its longest waits. Failures enter none: they may be fast.

    `unfinished`: requests that it admitted and that nobody waits for any longer. They missed, and
    took at least as long as the slot.
    """
    start = slot.started_at if slot.counted_from is None else slot.counted_from
    end = ended_at - plan.cooldown_s
    served = _Served.of(view.exposures, slot, (start, end), ended_at, slo)
    scores = _scores(view.feedback, served.inside)
    whole_s = [*served.waits(_whole_s), *([max(0.0, end - start)] * unfinished)]
    return SlotOutcome(
        requests=len(served.counted) + unfinished,
        good=sum(slo.met_by(r) for r in served.inside),
        failed=sum(r.failed for r in served.inside),
        straddlers=len(served.across) - len(served.missed),
        counted_s=max(0.0, end - start),
        ttft_p95_s=_p95(served.waits(_first_token_s)),
        gap_p95_s=_p95([r.gap_max_s for r in served.inside if r.served]),
        e2el_mean_s=_mean(whole_s),
        prompt_tokens=sum(r.prompt_tokens for r in served.counted),
        output_tokens=sum(r.output_tokens for r in served.counted),
        e2el_p95_s=_p95(whole_s),
        ttft_mean_s=_mean(served.waits(_first_token_s)),
        # Gauges speak for the whole target: between two lanes its energy can't be shared out.
        energy_j=energy_j(view.readings, start, end) if slot.lanes == 1 else math.nan,
        quality=_quality(view.probes, slot),
        feedback=_mean(scores),
        feedback_count=len(scores),
        out_of_memory=out_of_memory(view.readings, slot.started_at, ended_at),
        temperature_max_c=hottest_c(view.readings, slot.started_at, ended_at),
    )


def merged(outcomes: Sequence[SlotOutcome]) -> SlotOutcome:
    """Several slots of one arm as one: counts and times added up.

    Means and P95s are weighted by requests (scores by their number, quality alike), each over the
    slots that know them; what is added up is NaN where one slot does not know it. A P95 of both is
    no P95 of all their requests, but as far from it in either arm.
    """
    return SlotOutcome(
        requests=sum(o.requests for o in outcomes),
        good=sum(o.good for o in outcomes),
        failed=sum(o.failed for o in outcomes),
        straddlers=sum(o.straddlers for o in outcomes),
        counted_s=sum(o.counted_s for o in outcomes),
        ttft_p95_s=_weighted([(o.ttft_p95_s, o.requests) for o in outcomes]),
        gap_p95_s=_weighted([(o.gap_p95_s, o.requests) for o in outcomes]),
        e2el_mean_s=_weighted([(o.e2el_mean_s, o.requests) for o in outcomes]),
        prompt_tokens=sum(o.prompt_tokens for o in outcomes),
        output_tokens=sum(o.output_tokens for o in outcomes),
        e2el_p95_s=_weighted([(o.e2el_p95_s, o.requests) for o in outcomes]),
        ttft_mean_s=_weighted([(o.ttft_mean_s, o.requests) for o in outcomes]),
        energy_j=sum(o.energy_j for o in outcomes),
        quality=_weighted([(o.quality, 1) for o in outcomes]),
        feedback=_weighted([(o.feedback, o.feedback_count) for o in outcomes]),
        feedback_count=sum(o.feedback_count for o in outcomes),
        out_of_memory=sum(o.out_of_memory for o in outcomes),
        temperature_max_c=max(
            (o.temperature_max_c for o in outcomes if math.isfinite(o.temperature_max_c)),
            default=math.nan,
        ),
    )


def active_guardrails(plan: Plan, answers_change: bool) -> tuple[Guardrail, ...]:
    """The plan's guardrails without those that score answers, unless the change can alter them.

    To be asked once, when a test is planned: a probe costs the target time.
    """
    return tuple(
        rail for rail in plan.guardrails if answers_change or not measure(rail.measure).needs_probe
    )


def needs_probe(plan: Plan) -> bool:
    """Whether a test of this plan has to score answers."""
    watched = (plan.outcome, *(rail.measure for rail in plan.guardrails))
    return any(measure(name).needs_probe for name in watched)


def cut_short(experiment: Experiment, view: View, now: float, slo: SLO) -> Experiment:
    """The experiment, about to be closed at `now`, with what its unjudged slots had served so far.

    They count for no pair, but the requests that lived under them are shown: all that were
    admitted since the slot began, its washout included.
    """
    for slot in experiment.slots:
        if slot.outcome is None and slot.excluded is None:
            ended_at = now if slot.ended_at is None else slot.ended_at
            whole = replace(experiment.plan, cooldown_s=0.0)
            seen = slot_outcome(view, replace(slot, counted_from=None), ended_at, whole, slo)
            why = "the test ended before this slot was judged"
            done = replace(slot, ended_at=ended_at, outcome=seen, excluded=why)
            experiment = experiment.with_slot(done)
    return experiment


@dataclass(frozen=True)
class Toll:
    """What an arm's requests went through in the slots that were judged."""

    requests: int
    missed: int

    @property
    def share(self) -> float:
        return self.missed / self.requests if self.requests else math.nan


def toll(slots: Iterable[Slot], arm: Arm) -> Toll:
    """How many of an arm's requests missed the SLO, failures among them."""
    seen = [slot.outcome for slot in slots if slot.arm is arm and slot.outcome is not None]
    requests = sum(outcome.requests for outcome in seen)
    return Toll(requests, requests - sum(outcome.good for outcome in seen))


def in_lane(slot: Slot, lane: int) -> bool:
    """Whether what `lane` served belongs to `slot`; a slot without a mate has all lanes."""
    return slot.lanes == 1 or slot.lane == lane


@dataclass(frozen=True)
class _Served:
    """A slot's requests, by where they ended."""

    inside: tuple[Exposure, ...]
    across: tuple[Exposure, ...]  # ended under later settings
    missed: tuple[Exposure, ...]  # of those, the ones that were overdue before the slot's end
    ended_at: float

    @classmethod
    def of(
        cls,
        exposures: Iterable[Exposure],
        slot: Slot,
        counted: tuple[float, float],
        ended_at: float,
        slo: SLO,
    ) -> _Served:
        admitted = [
            request
            for request in exposures
            if request.generation_start == slot.generation
            and in_lane(slot, request.lane)
            and counted[0] <= request.arrival <= counted[1]
            and _measured(request)
            and slo.counts(request)
        ]
        across = [r for r in admitted if r.generation_end != slot.generation]
        missed = tuple(r for r in across if slo.overdue(r, by=ended_at))
        inside = tuple(r for r in admitted if r.generation_end == slot.generation)
        return cls(inside, tuple(across), missed, ended_at)

    @property
    def counted(self) -> tuple[Exposure, ...]:
        return (*self.inside, *self.missed)

    def waits(self, time_s: Callable[[Exposure], float | None]) -> list[float]:
        """A time of each request that did not fail; up to the slot's end where it ended later."""
        ended = [time_s(r) for r in self.inside if not r.failed]
        cut = [
            self.ended_at - r.arrival if (took := time_s(r)) is None
            else min(took, self.ended_at - r.arrival)
            for r in self.across
        ]  # fmt: skip
        return [took for took in (*ended, *cut) if took is not None]


def _first_token_s(request: Exposure) -> float | None:
    """The wait for the first token; to the leaving of a client that never saw one."""
    if request.ttft_s is None and request.outcome is Outcome.ABORT:
        return request.e2el_s
    return request.ttft_s


def _whole_s(request: Exposure) -> float | None:
    return None if request.failed else request.e2el_s


def _quality(probes: Iterable[ProbeReading], slot: Slot) -> float:
    return _mean(
        [
            probe.agreement
            for probe in probes
            if probe.generation == slot.generation and in_lane(slot, probe.lane)
        ]
    )


def _scores(feedback: Iterable[FeedbackScore], served: Iterable[Exposure]) -> list[float]:
    """The last score of each of these requests that has one."""
    last = {score.request_id: score.score for score in feedback}
    return [last[request.id] for request in served if request.id in last]


def _measured(request: Exposure) -> bool:
    times = (request.ttft_s, request.tpot_s, request.gap_max_s, request.e2el_s)
    return all(time is None or math.isfinite(time) for time in times)


def _mean(values: Sequence[float]) -> float:
    kept = [value for value in values if math.isfinite(value)]
    return math.fsum(kept) / len(kept) if kept else math.nan


def _p95(values: Sequence[float | None]) -> float:
    kept = [value for value in values if value is not None]
    return float(np.percentile(kept, 95)) if kept else math.nan


def _weighted(values: Sequence[tuple[float, int]]) -> float:
    known = [(value, weight) for value, weight in values if math.isfinite(value) and weight > 0]
    total = sum(weight for _, weight in known)
    return sum(value * weight for value, weight in known) / total if total else math.nan
