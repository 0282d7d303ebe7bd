"""One environment of a traffic, served by engines request by request: exact where limits bind."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from autotuner.agent.des_crowding import Crowding
from autotuner.agent.des_engine import Engine
from autotuner.agent.des_fleet import Fleet
from autotuner.agent.des_noise import Noise
from autotuner.agent.des_request import Ended, Request, StepLog
from autotuner.agent.schedule import Schedule, ScheduleTable
from autotuner.agent.serving import ServingTable
from autotuner.agent.stepmodel import Floats
from autotuner.agent.traffic import Traffic
from autotuner.domain.telemetry import Outcome

_EVERY_STEP = 1 << 40


@dataclass(frozen=True)
class ServedRow:
    """Latencies (s) as rows of `times` [4, request]: TTFT, longest gap, TPOT, end to end.

    `steps` [6, step], in the order of their ends, are the columns of a Trace; None if not asked
    for.
    """

    times: Floats
    steps: Floats | None


class RowServer:
    """Serves rows of a traffic one by one, each by its replicas."""

    def __init__(
        self,
        traffic: Traffic,
        schedules: ScheduleTable,
        serving: ServingTable,
        cap_s: float,
        noise: Noise,
        *,
        max_waiting: float = np.inf,
        trace: bool = False,
        crowding: Crowding | None = None,
    ) -> None:
        self._traffic, self._schedules, self._serving = traffic, schedules, serving
        self._cap_s, self._noise = cap_s, noise
        self._max_waiting, self._trace = max_waiting, trace
        self._crowding = crowding

    def serve(self, row: int) -> ServedRow:
        """One environment from its first arrival to its last end, or to the cap."""
        serving, schedule = self._serving.row(row), _schedule(self._schedules, row)
        engines = [
            Engine(
                serving,
                schedule,
                self._noise.normals(row, replica),
                StepLog(_EVERY_STEP) if self._trace else None,
                every_step=self._trace,
                crowding=self._crowding,
            )
            for replica in range(serving.replicas)
        ]
        fleet = Fleet(engines, self._max_waiting)
        arrivals = self._traffic.arrival_s[row]
        n = int(np.isfinite(arrivals).sum())
        columns = (arrivals, self._traffic.prompt_tokens[row], self._traffic.output_tokens[row])
        for number, request in enumerate(zip(*(c[:n].tolist() for c in columns), strict=True)):
            if request[0] >= self._cap_s:
                break
            fleet.run(request[0])
            fleet.submit(Request(number, *request))
        fleet.run(self._cap_s)
        times = _times(fleet.take_ended(), len(arrivals))
        return ServedRow(times, _steps(engines) if self._trace else None)


def _schedule(table: ScheduleTable, row: int) -> Schedule:
    return Schedule(
        max_num_seqs=int(table.max_num_seqs[row]),
        batch_timeout_s=float(table.batch_timeout_s[row]),
        max_num_batched_tokens=int(table.max_num_batched_tokens[row]),
        length_grouped=bool(table.length_grouped[row]),
    )


def _times(ended: list[Ended], width: int) -> Floats:
    times = np.full((4, width), np.inf)
    for at_s, request, outcome, gap_s in ended:
        if outcome is Outcome.LENGTH:
            tpot_s = (at_s - request.first_s) / max(request.output_tokens - 1, 1)
            arrival_s = request.arrival_s
            e2el_s = at_s - arrival_s
            times[:, request.number] = request.first_s - arrival_s, gap_s, tpot_s, e2el_s
    return times


def _steps(engines: list[Engine]) -> Floats:
    """[6, step] of all engines, in the order of their ends."""
    rows = [
        (r.step_s, r.at, r.decode_seqs, r.prefill_tokens, r.context_tokens, running)
        for engine in engines
        if engine.log is not None
        for r, running in zip(engine.log.records, engine.running_log, strict=True)
    ]
    return np.array(sorted(rows, key=lambda row: row[1]), np.float64).reshape(-1, 6).T
