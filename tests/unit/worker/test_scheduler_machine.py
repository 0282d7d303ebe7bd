from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import count

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from autotuner.worker.kv_layout import BLOCK_TOKENS, SCRATCH_BLOCK
from autotuner.worker.messages import SamplingParams, TokenOutput
from autotuner.worker.scheduler import Scheduler
from autotuner.worker.sequence import Sequence, StepPlan
from autotuner.worker.settings import AttentionMode, WorkerSettings
from tests.unit.worker.paged_model import EOS, FIRST_WORD, POISON, WORDS, PagedModel, answer

MAX_LEN = 5 * BLOCK_TOKENS
STEP_S = 0.02
# Two families of prompts whose members begin alike.
TEXTS = [[FIRST_WORD + (i * k) % WORDS for i in range(MAX_LEN)] for k in (1, 7)]

knobs = st.builds(
    WorkerSettings,
    max_num_seqs=st.sampled_from([1, 4, 8]),
    batch_timeout_ms=st.sampled_from([0, 0, 50]),
    max_num_batched_tokens=st.sampled_from([16, 24, 40, 100]),
    memory_efficient=st.sampled_from([True, True, True, False]),
    schedule_policy=st.sampled_from(["fcfs", "length-grouped"]),
    attention=st.sampled_from(["full", "top_k"]),
)
lengths = st.sampled_from([1, 15, 16, 17, 33, 40, 48, 64, MAX_LEN - 1])


class SchedulerMachine(RuleBasedStateMachine):
    """A scheduler with few blocks and a model that checks what is in them."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.numbers = count()
        self.asked: dict[str, Sequence] = {}
        self.prompts: dict[str, list[int]] = {}
        self.outputs: dict[str, list[TokenOutput]] = {}
        self.was_optimistic = False

    @initialize(
        spare=st.integers(0, 8), first=knobs, prefix_caching=st.sampled_from([True, True, False])
    )
    def start(self, spare: int, first: WorkerSettings, prefix_caching: bool) -> None:
        self.blocks = 1 + MAX_LEN // BLOCK_TOKENS + spare
        self.house = Scheduler(first, self.blocks, MAX_LEN, [EOS], prefix_caching)
        self.model = PagedModel(self.blocks)
        self.was_optimistic = first.memory_efficient

    @rule(
        text=st.sampled_from(TEXTS),
        prompts=st.lists(lengths, min_size=2, max_size=6),
        shorter_by=st.sampled_from([0, 0, 0, 40]),
        poisoned=st.sampled_from([False] * 7 + [True]),
    )
    def add(self, text: list[int], prompts: list[int], shorter_by: int, poisoned: bool) -> None:
        for prompt in prompts:
            max_tokens = max(1, MAX_LEN - prompt - shorter_by)
            self.add_one(text[: prompt - poisoned] + [POISON] * poisoned, max_tokens)

    def add_one(self, tokens: list[int], max_tokens: int) -> None:
        name = f"{next(self.numbers)}"
        sampling = SamplingParams(max_tokens=max_tokens)
        sequence = Sequence(name, list(tokens), len(tokens), sampling, 0, self.now)
        self.asked[name], self.prompts[name], self.outputs[name] = sequence, tokens, []
        self.house.add(sequence)

    @rule(data=st.data())
    @precondition(lambda self: self.asked)
    def abort(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.asked)))
        self.house.abort(name)

    @rule(new=knobs)
    def change_settings(self, new: WorkerSettings) -> None:
        self.house.settings = new
        self.was_optimistic |= new.memory_efficient

    @rule(attention=st.sampled_from(["full", "top_k"]), steps=st.integers(1, 3))
    def glance_at_another_mode(self, attention: AttentionMode, steps: int) -> None:
        before = self.house.settings
        self.house.settings = replace(before, attention=attention)
        self.run(steps)
        self.house.settings = before
        self.run(steps)

    @rule(steps=st.integers(1, 20))
    def run(self, steps: int) -> None:
        for _ in range(steps):
            self.step()

    def step(self) -> None:
        running, settings = set(self.house.running), self.house.settings
        plan = self.house.schedule(self.now)
        self.now += STEP_S
        counts = self.house.take_counts()
        self.check_plan(plan, running)
        self.check_blocks()
        assert self.was_optimistic or not counts.preemptions
        assert counts.prefix_hits <= counts.prefix_queries
        for name in set(self.house.running) - running:
            sequence = self.house.running[name]
            self.model.check(sequence, sequence.computed, settings.attention)
        drawn = self.model.run(plan)
        for sequence, token in drawn:
            if token is None:
                self.model.zero(self.house.forget(sequence))
        for output in self.house.finish_step(plan, drawn):
            self.outputs[output.request_id].append(output)

    def check_plan(self, plan: StepPlan, before: set[str]) -> None:
        house = self.house
        assert plan.tokens <= house.settings.max_num_batched_tokens
        assert plan.attention == house.settings.attention
        assert bool(plan.chunks) == bool(house.running)
        admitted = set(house.running) - before
        assert not admitted or len(house.running) <= house.settings.max_num_seqs
        assert len({id(c.sequence) for c in plan.chunks}) == len(plan.chunks)
        for chunk in plan.chunks:
            sequence = chunk.sequence
            assert house.running[sequence.request_id] is sequence
            assert (chunk.start, chunk.count > 0) == (sequence.computed, True)
            assert chunk.end <= min(len(sequence.tokens), len(sequence.blocks) * BLOCK_TOKENS)

    @invariant()
    def check_blocks(self) -> None:
        if not hasattr(self, "house"):
            return
        held: Counter[int] = Counter()
        for sequence in self.house.running.values():
            assert len(set(sequence.blocks)) == len(sequence.blocks)
            held.update(sequence.blocks)
        assert SCRATCH_BLOCK not in held
        assert self.house.kv_usage == 1.0 - (self.blocks - 1 - len(held)) / (self.blocks - 1)
        for sequence in self.house.running.values():
            for block in sequence.blocks[sequence.computed // BLOCK_TOKENS :]:
                assert held[block] == 1, "a block that is written to is shared"
        assert not any(s.blocks or s.computed for s in self.house.waiting.values())

    def teardown(self) -> None:
        if not hasattr(self, "house"):
            return
        for _ in range(100 + 2 * MAX_LEN * len(self.asked)):
            wait_s = self.house.wait_s(self.now)
            if wait_s is None:
                break
            self.now += wait_s + 1e-6
            self.step()
        assert not self.house.running
        assert not self.house.waiting
        assert self.house.kv_usage == 0.0
        for name in self.asked:
            self.check_outputs(name)

    def check_outputs(self, name: str) -> None:
        """Each token once and in order, one end, one admission."""
        outputs = self.outputs[name]
        assert [bool(o.finish) for o in outputs] == [False] * (len(outputs) - 1) + [True]
        tokens = [o.token_id for o in outputs if o.token_id is not None]
        prompt, sequence = self.prompts[name], self.asked[name]
        expected = answer(prompt, sequence.sampling.max_tokens)
        admitted = [o.admitted_at is not None for o in outputs if o.token_id is not None]
        assert admitted == [True] * bool(tokens) + [False] * (len(tokens) - 1)
        assert all(o.cached_tokens < len(prompt) for o in outputs)
        if outputs[-1].finish == "abort":
            assert tokens == expected[: len(tokens)]
        else:
            assert tokens == expected
            assert (outputs[-1].finish == "error") == (POISON in prompt)


TestScheduler = SchedulerMachine.TestCase
TestScheduler.settings = settings(
    max_examples=40,
    stateful_step_count=20,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
