"""All environments at once, for as long as no memory, patience or queue limit binds.

All work is on vectors of length [environment] and on the stretches of steps between two events: a
sequence that decodes needs no bookkeeping until it ends, because every sequence that decodes gets
one token a step. Its end is known when its prompt is done, and its largest gap is the longest step
in between, looked up afterwards. Each environment stands at a step of its own. A row in which a
limit may bind stops and is marked `broken`.
"""

from __future__ import annotations

import numpy as np

from autotuner.agent.des_calendar import Calendar
from autotuner.agent.des_crowding import Crowding
from autotuner.agent.des_grouped import GroupedQueues
from autotuner.agent.des_limits import Limits
from autotuner.agent.des_noise import Factors, Noise
from autotuner.agent.des_stretch import (
    FILLING,
    FREED,
    LEAVING,
    LEAVING_CONTEXT,
    Begin,
    PromptWork,
    Stretch,
    windowed_pairs,
)
from autotuner.agent.des_trace import StepBook, Trace
from autotuner.agent.latencies import Latencies, from_steps
from autotuner.agent.schedule import ScheduleTable
from autotuner.agent.serving import ServingTable
from autotuner.agent.stepmodel import Bools, Ints
from autotuner.agent.traffic import Traffic

_NO_WINDOW = 1 << 40
_SHORTEST, _LONGEST = 4, 128  # steps looked ahead; chosen by trying
_AHEAD = 3.0  # times the mean length of the last stretches; chosen by trying
_ELEMENTS = 15_000  # looked ahead in all rows together, about; chosen by trying


class CursorRun:
    """The state of all environments between two steps."""

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
        n, width = traffic.arrival_s.shape
        self.schedules, self.steps, self.cap_s = schedules, serving.steps, cap_s
        self.factors = Factors(noise, serving.steps.noise)
        self.tracing, self.crowding = trace, crowding
        pad = ((0, 0), (0, 1))
        self.arrival = np.pad(traffic.arrival_s, pad, constant_values=np.inf)
        self.prompt = np.pad(traffic.prompt_tokens, pad, constant_values=1)
        self.output = np.pad(traffic.output_tokens, pad, constant_values=1)
        self.total = np.isfinite(traffic.arrival_s).sum(axis=1)
        self.first = np.full((n, width + 1), -1, dtype=np.int64)  # step of the first token
        self.rows = np.arange(n)
        self.clock, self.index = np.zeros(n), np.zeros(n, np.int64)  # and the number of steps
        # Cursors into the arrivals: how many are known, admitted, and through with their prompt.
        self.seen, self.oldest = np.zeros(n, np.int64), np.zeros(n, np.int64)
        self.admitted, self.head = np.zeros(n, np.int64), np.zeros(n, np.int64)
        self.head_done = np.zeros(n, np.int64)  # prompt tokens of the head already computed
        self.decoding, self.context = np.zeros(n, np.int64), np.zeros(n, np.int64)
        self.finished = np.zeros(n, np.int64)
        self.stopped_at = np.full(n, np.iinfo(np.int64).max)
        self.windowed = bool(np.isfinite(serving.window).any())
        self.window = np.where(np.isfinite(serving.window), serving.window, _NO_WINDOW)
        self.window = np.maximum(1, self.window.astype(np.int64))
        # Of those who decode, how many read one token more each step.
        self.growing = np.zeros(n, np.int64)
        self.cached = np.minimum(
            np.floor(serving.prefix_share[:, None] * self.prompt).astype(np.int64), self.prompt - 1
        )
        self.limits = Limits(self.prompt, self.output, serving, max_waiting)
        self.done: Bools = (self.total == 0) | self.limits.broken
        # Under length grouping a request may overtake another. As long as there are two, lists of
        # requests take the cursors' place: in rows that are `listed`.
        self.grouped = bool(schedules.length_grouped.any())
        self.listed, self.prefills_listed = np.zeros((2, n), np.bool_)
        self.queues = {
            int(e): GroupedQueues(
                self.arrival[e], self.prompt[e], self.cached[e], int(self.window[e])
            )
            for e in np.flatnonzero(schedules.length_grouped)
        }
        longest = int(self.output.max(initial=1))
        kinds = FREED + 1 if self.limits.memory else FILLING + 1 if self.windowed else FILLING
        self.calendar = Calendar(kinds, n, longest + _LONGEST)
        self.live_steps = self.steps  # of the rows that are not done
        self.book = StepBook(n, trace)
        self.stride = _SHORTEST

    @property
    def broken(self) -> Bools:
        """In which rows a limit may have bound, so that what they say is not true."""
        return self.limits.broken

    def run(self) -> None:
        """Play until every row is done."""
        while not self.done.all():
            self._play()

    def _play(self) -> None:
        """Of every row the next step, and those after it up to the next event."""
        self._wake()
        chunks = self._prefill()
        rows = np.flatnonzero(~self.done)
        if not len(rows):
            return
        places = self.calendar.places(rows, self.index[rows], self.stride)
        due = self.calendar.due(places)
        stretch = Stretch(self._begin(rows, chunks), due, self.windowed)
        steps = self.index[rows][:, None] + np.arange(self.stride)
        if len(rows) < len(self.live_steps.t0_s):
            self.live_steps = self.steps.take(rows)
        stretch.timed(self.live_steps, self.factors.at(rows, steps), self.crowding)
        over = None
        if self.limits.memory:
            over = self.limits.over(rows, stretch.decode, due[FREED])
        stretch.stopped(over)
        self._write(rows, stretch)
        self.calendar.clear(places[np.arange(self.stride) < stretch.taken[:, None]])
        self._go_on(rows, stretch, due)
        self._stop()
        mean = int(stretch.taken.sum()) / len(rows)
        most = min(max(_ELEMENTS // len(rows), _SHORTEST), _LONGEST)
        self.stride = max(_SHORTEST, min(int(_AHEAD * mean), most))

    # ---- who comes in
    def _wake(self) -> None:
        """Lets come in what may, and moves rows that have nothing to do on to where they have."""
        while True:
            self._arrive()
            if self.limits.any:
                waited_s = self.clock - self.arrival[self.rows, self.oldest]
                self.limits.look_at_queue(self.seen - self.admitted, waited_s, ~self.done)
            self._admit()
            if self.limits.any:
                self.limits.look_at_memory(self.decoding, ~self.done)
                self.done = self.done | self.limits.broken
                self.stopped_at[self.limits.broken] = -1
            busy = (self.decoding > 0) | (self.head < self.admitted) | self.prefills_listed
            idle = np.flatnonzero(~(busy | self.done))
            if not len(idle):
                return
            self._skip(idle)

    def _arrive(self) -> None:
        while True:
            come = (self.arrival[self.rows, self.seen] <= self.clock) & ~self.done
            if not come.any():
                return
            if self.grouped:
                for e in np.flatnonzero(come & self.listed).tolist():
                    waiting = self.queues[e].waiting
                    waiting.append(int(self.seen[e]))
                    self.oldest[e] = waiting[0]
            self.seen += come

    def _admit(self) -> None:
        waiting = self.seen - self.admitted
        if not waiting.any():
            return
        free = self.schedules.max_num_seqs - (self.admitted - self.finished)
        oldest_s = self.arrival[self.rows, self.oldest]
        waited = self.clock >= oldest_s + self.schedules.batch_timeout_s
        opened = (waiting > 0) & (free > 0) & (waited | (waiting >= free)) & ~self.done
        taken = np.where(opened, np.minimum(waiting, free), 0)
        if self.grouped:
            two = opened & self.schedules.length_grouped & (self.seen - self.head > 1)
            for e in np.flatnonzero(two & ~self.listed).tolist():
                self._list(e)
            for e in np.flatnonzero(opened & self.listed).tolist():
                self._admit_listed(e, int(taken[e]))
        if self.limits.any:
            self.limits.admit(self.admitted, np.where(self.listed, 0, taken))
        self.admitted += taken
        self.oldest = np.where(self.listed, self.oldest, self.admitted)

    def _list(self, e: int) -> None:
        head, admitted = int(self.head[e]), int(self.admitted[e])
        self.queues[e].begin(head, admitted, int(self.seen[e]), int(self.head_done[e]))
        self.head[e], self.head_done[e], self.listed[e] = admitted, 0, True

    def _admit_listed(self, e: int, taken: int) -> None:
        queues = self.queues[e]
        first = queues.admit(taken, float(self.clock[e]))
        self.limits.admit_some(e, first)
        self.head[e] += taken  # kept out of the cursors' way
        self.prefills_listed[e] = True
        self.oldest[e] = queues.waiting[0] if queues.waiting else self.seen[e]

    def _skip(self, idle: Ints) -> None:
        """Puts idle clocks at their next event: an arrival, or the end of the batching timeout."""
        ended = idle[self.clock[idle] >= self.cap_s]
        self.done[ended], self.stopped_at[ended] = True, self.index[ended]
        arrival = self.arrival[idle, self.seen[idle]]
        oldest = self.arrival[idle, self.oldest[idle]] + self.schedules.batch_timeout_s[idle]
        gate = np.where(self.seen[idle] > self.admitted[idle], oldest, np.inf)
        event_s = np.where(self.done[idle], self.clock[idle], np.minimum(arrival, gate))
        self.clock[idle] = np.maximum(self.clock[idle], event_s)
        self.book.write_idle(idle, self.index[idle], self.clock[idle])
        self.index[idle] += 1

    # ---- prompts
    def _prefill(self) -> PromptWork:
        """Spend the budget that decoding leaves."""
        chunks = PromptWork.none(len(self.rows))
        left = np.where(self.done, 0, self.schedules.max_num_batched_tokens - self.decoding)
        if self.grouped:
            self._prefill_listed(left, chunks)
        rows = np.flatnonzero((left > 0) & (self.head < self.admitted))
        while len(rows):
            request = self.head[rows]  # in the order of arrival
            cached, prompt = self.cached[rows, request], self.prompt[rows, request]
            before = np.maximum(self.head_done[rows], cached)
            upto = np.minimum(before + left[rows], prompt)
            tokens = upto - before
            chunks.tokens[rows] += tokens
            if self.windowed:
                window = self.window[rows]
                chunks.context[rows] += np.minimum(upto, tokens - 1 + window)
                pairs = windowed_pairs(upto, window) - windowed_pairs(before, window)
                chunks.pairs[rows] += pairs
            else:
                chunks.context[rows] += upto
                chunks.pairs[rows] += tokens * (upto + before + 1) // 2
            left[rows] -= tokens
            complete = upto == prompt
            self.head_done[rows] = np.where(complete, 0, upto)
            rows, request = rows[complete], request[complete]
            self.head[rows] += 1
            self._join(rows, request, chunks)
            rows = rows[(left[rows] > 0) & (self.head[rows] < self.admitted[rows])]
        return chunks

    def _prefill_listed(self, left: Ints, chunks: PromptWork) -> None:
        rows = np.flatnonzero(self.prefills_listed & ~self.done)
        complete = list[tuple[int, list[int]]]()
        for e, budget, now in zip(
            rows.tolist(), left[rows].tolist(), self.clock[rows].tolist(), strict=True
        ):
            queues = self.queues[e]
            tokens, context, pairs, ready = queues.prefill(budget, now)
            chunks.tokens[e], chunks.context[e], chunks.pairs[e] = tokens, context, pairs
            if ready:
                self.prefills_listed[e] = bool(queues.prefilling)
                self.listed[e] = bool(queues.prefilling or queues.waiting)
                complete.append((e, ready))
        while complete:
            first = np.array([(e, ready.pop()) for e, ready in complete])
            self._join(first[:, 0], first[:, 1], chunks)
            complete = [(e, ready) for e, ready in complete if ready]

    def _join(self, rows: Ints, request: Ints, chunks: PromptWork) -> None:
        """Requests whose prompt the next step completes, one in each of the rows."""
        if len(rows):
            goes_on, context, grows = self._first_token(rows, request, self.index[rows])
            chunks.joined[rows] += goes_on
            chunks.joined_context[rows] += context
            chunks.joined_growing[rows] += grows

    def _first_token(self, rows: Ints, request: Ints, at: Ints) -> tuple[Bools, Ints, Bools]:
        """In step `at`: who goes on, with what to read, and whose part of that still grows."""
        self.first[rows, request] = at
        prompt, output = self.prompt[rows, request], self.output[rows, request]
        goes_on, grows = output > 1, np.zeros(len(rows), np.bool_)
        tokens, total = prompt + 1, prompt + output
        if self.windowed:
            window = self.window[rows]
            grows = goes_on & (tokens < window)
            full = at + np.minimum(window - tokens, output - 1)
            self.calendar.add(FILLING, rows, full, grows.astype(np.int64))
            tokens, total = np.minimum(tokens, window), np.minimum(total, window)
        self.finished[rows] += ~goes_on
        last = at + output - 1
        self.calendar.add(LEAVING, rows, last, goes_on.astype(np.int64))
        self.calendar.add(LEAVING_CONTEXT, rows, last, np.where(goes_on, total, 0))
        if self.limits.memory:
            freed = self.limits.end_at(rows, request, goes_on)
            self.calendar.add(FREED, rows, last, freed)
        return goes_on, np.where(goes_on, tokens, 0), grows

    # ---- steps
    def _begin(self, rows: Ints, chunks: PromptWork) -> Begin:
        request = self.head[rows]
        done = np.maximum(self.head_done[rows], self.cached[rows, request])
        prompt, alone = self.prompt[rows, request], request + 1 == self.admitted[rows]
        budget = self.schedules.max_num_batched_tokens[rows] * (request < self.admitted[rows])
        hard_s = self.limits.until_s(rows, self.arrival, self.oldest, self.admitted, self.cap_s)
        free = (self.schedules.max_num_seqs - self.admitted + self.finished)[rows]
        # Who is the next to be admitted has to come, and then to wait, or enough others to come.
        next_s = self.arrival[rows, self.oldest[rows]]
        enough = np.minimum(self.admitted[rows] + np.maximum(free, 1), self.arrival.shape[1]) - 1
        gate_s = next_s + self.schedules.batch_timeout_s[rows]
        until_s = np.maximum(next_s, np.minimum(gate_s, self.arrival[rows, enough]))
        for i in np.flatnonzero(self.prefills_listed[rows]).tolist():
            queues = self.queues[int(rows[i])]
            if queues.head is not None:
                request[i], alone[i] = queues.head, len(queues.prefilling) == 1
                done[i] = queues.prefilling[queues.head]
                prompt[i] = self.prompt[rows[i], queues.head]
                budget[i] = self.schedules.max_num_batched_tokens[rows[i]]
                hard_s[i] = min(hard_s[i], queues.head_until_s)
        output = self.output[rows, request] * alone * (not self.windowed)
        return Begin(
            clock=self.clock[rows],
            decoding=self.decoding[rows],
            context=self.context[rows],
            tokens=chunks.tokens[rows],
            chunk_context=chunks.context[rows],
            pairs=chunks.pairs[rows],
            joined=chunks.joined[rows],
            joined_context=chunks.joined_context[rows],
            growing=self.growing[rows],
            joined_growing=chunks.joined_growing[rows],
            budget=budget,
            request=request,
            done=done,
            prompt=prompt,
            output=np.where(output > 1, output, 0),
            window=self.window[rows],
            free=free,
            until_s=until_s,
            hard_until_s=hard_s,
        )

    def _write(self, rows: Ints, stretch: Stretch) -> None:
        counts = list[Ints]()
        if self.tracing:
            running = (self.admitted - self.finished)[rows][:, None] - stretch.left
            counts = [stretch.decode, stretch.all_tokens(), stretch.read, running]
        self.book.write(rows, self.index[rows], [stretch.step_s, stretch.end_s], counts)

    def _go_on(self, rows: Ints, stretch: Stretch, due: Ints) -> None:
        """To where the stretch ends."""
        last = (np.arange(len(rows)), stretch.taken - 1)
        left = stretch.left[last]
        self.clock[rows] = stretch.end_s[last]
        self.index[rows] += stretch.taken
        self.finished[rows] += left
        self.decoding[rows] = stretch.begin.decoding + stretch.begin.joined - left
        self.context[rows] = stretch.context[last]
        if self.windowed:
            self.growing[rows] = stretch.growing[last]
        if self.limits.memory:
            self.limits.pass_by(rows, stretch.decode, due[FREED], last)
        if stretch.chunked:
            upto = stretch.upto[last]
            cursors = self.head[rows] < self.admitted[rows]
            self.head_done[rows[cursors]] = upto[cursors]
            for i in np.flatnonzero(self.prefills_listed[rows]).tolist():
                queues = self.queues[int(rows[i])]
                if queues.head is not None:
                    queues.prefilling[queues.head] = int(upto[i])
        if stretch.completes:
            self._complete(rows, stretch, last)

    def _complete(self, rows: Ints, stretch: Stretch, last: tuple[Ints, Ints]) -> None:
        """Prompts that were complete before the end of the stretch."""
        here = np.flatnonzero(stretch.complete[last])
        done, request = rows[here], stretch.begin.request[here]
        self.decoding[done] += 1
        self._first_token(done, request, self.index[done] - 1 - stretch.told[last][here])
        cursors = ~self.prefills_listed[done]
        self.head[done[cursors]] += 1
        self.head_done[done[cursors]] = 0
        for e in done[~cursors].tolist():
            self.queues[e].end_head()
            self.prefills_listed[e], self.listed[e] = False, bool(self.queues[e].waiting)

    def _stop(self) -> None:
        ended = ((self.finished >= self.total) | (self.clock >= self.cap_s)) & ~self.done
        self.stopped_at[ended] = self.index[ended] - 1
        self.done = self.done | ended

    def latencies(self) -> Latencies:
        """Of every request; infinite where it had not ended when its row was done."""
        step_s, end_s = self.book.times()
        first, output, arrival = self.first[:, :-1], self.output[:, :-1], self.arrival[:, :-1]
        last = np.where(first >= 0, first + output - 1, np.iinfo(np.int64).max)
        complete = (first >= 0) & (last <= self.stopped_at[:, None])
        latencies = from_steps(arrival, first, output, complete, step_s, end_s)
        self.limits.look_back(latencies, self.clock)
        return latencies

    def trace(self) -> Trace:
        """The steps, when they were asked for."""
        return self.book.trace(self.index, self.clock)
