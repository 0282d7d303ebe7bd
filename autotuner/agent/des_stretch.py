"""A step and those after it, until one that may admit a request or complete a prompt.

In between, everything follows from what is known at the beginning: who leaves when, and the tokens
that each step has left for the one prompt that goes on. Stopping early is always right, the next
stretch goes on from there; so every bound here may be too low, never too high.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from autotuner.agent.des_crowding import Crowding
from autotuner.agent.stepmodel import Bools, Floats, Ints, StepTable

LEAVING, LEAVING_CONTEXT, FILLING, FREED = range(4)  # kinds of what is due at a step


@dataclass(frozen=True)
class PromptWork:
    """What the next step computes of prompts: arrays [environment]; who decodes after it."""

    tokens: Ints
    context: Ints
    pairs: Ints
    joined: Ints
    joined_context: Ints
    joined_growing: Ints

    @classmethod
    def none(cls, n: int) -> PromptWork:
        return cls(*np.zeros((6, n), np.int64))


@dataclass(frozen=True)
class Begin:
    """Where the rows stand: arrays [row].

    The first step reads `tokens` of prompts, with `chunk_context` and `pairs`; after it `joined`
    more sequences decode, which then have `joined_context`. In later steps the prompt that goes on,
    that of `request`, has `done` of `prompt` tokens and gets what decoding leaves of `budget`; a
    budget of 0 where none does. `output`: the length of its answer where no other prompt could
    take what it leaves when it is complete, elsewhere 0. Under windows `growing` of those who
    decode read more each step, and `joined_growing` of those who join. No request comes before
    `until_s`; one that does is admitted where places are `free`. From `hard_until_s` on nothing is
    known.
    """

    clock: Floats
    decoding: Ints
    context: Ints
    tokens: Ints
    chunk_context: Ints
    pairs: Ints
    joined: Ints
    joined_context: Ints
    growing: Ints
    joined_growing: Ints
    budget: Ints
    request: Ints
    done: Ints
    prompt: Ints
    output: Ints
    window: Ints
    free: Ints
    until_s: Floats
    hard_until_s: Floats


class Stretch:
    """Arrays [row, step], of which each row has `taken` steps; at and beyond them means nothing."""

    def __init__(self, begin: Begin, due: Ints, windowed: bool) -> None:
        """`due` [kind, row, step] at the steps from the first on."""
        self.begin, self._windowed = begin, windowed
        self.left: Ints = due[LEAVING].cumsum(axis=1)  # that step, with all before it
        self._gone = self.left - due[LEAVING]
        self.decode: Ints = (begin.decoding + begin.joined)[:, None] - self._gone
        self.decode[:, 0] = begin.decoding
        if windowed:
            filled = due[FILLING].cumsum(axis=1)
            growing = (begin.growing + begin.joined_growing)[:, None] - filled
            self.growing: Ints = growing
            grown = growing + due[FILLING]
            grown[:, 0] = begin.growing
        else:
            grown = self.decode
        change = grown - due[LEAVING_CONTEXT]
        change[:, 0] += begin.joined_context
        self.context: Ints = begin.context[:, None] + change.cumsum(axis=1)  # after the step
        self.read: Ints = self.context - change
        self.read[:, 0] += begin.chunk_context
        self.chunked, self.completes = bool(begin.budget.any()), bool(begin.output.any())
        self.tokens = self._chunks() if self.chunked else None

    def _chunks(self) -> Ints:
        """The prompt that goes on: `upto` and pairs; the tokens of each step."""
        begin = self.begin
        tokens: Ints = np.maximum(begin.budget[:, None] - self.decode, 0)
        tokens[:, 0] = 0
        upto = begin.done[:, None] + tokens.cumsum(axis=1)
        if self.completes:
            upto = self._complete(upto)
            tokens[:, 1:] = upto[:, 1:] - upto[:, :-1]
        before = upto - tokens
        if self._windowed:
            window = begin.window[:, None]
            self.read += np.where(tokens > 0, np.minimum(upto, tokens - 1 + window), 0)
            pairs = windowed_pairs(upto, window) - windowed_pairs(before, window)
        else:
            self.read += np.where(tokens > 0, upto, 0)
            pairs = tokens * (upto + before + 1) // 2
        tokens[:, 0], pairs[:, 0] = begin.tokens, begin.pairs
        self.upto, self.pairs = upto, pairs
        return tokens

    def _complete(self, upto: Ints) -> Ints:
        """Completes prompts that are alone; their `upto`. `told`: steps since the first token."""
        begin = self.begin
        alone, prompt = begin.output > 0, begin.prompt[:, None]
        end = np.where(alone, begin.prompt, np.iinfo(np.int64).max)[:, None]
        upto = np.minimum(upto, end)
        self.complete: Bools = upto == end
        after = np.zeros_like(self.complete)
        after[:, 1:] = self.complete[:, :-1]
        self.told: Ints = after.cumsum(axis=1)
        self.decode += after
        self.read += after * (prompt + self.told)
        self.context += self.complete * (prompt + 1 + self.told)
        return upto

    def timed(self, m: StepTable, factors: Floats, crowding: Crowding | None) -> None:
        """Gives `step_s` and `end_s` by the rows' step models; `factors` are the noise."""
        begin = self.begin
        step_s = m.t0_s[:, None] + m.decode_s[:, None] * self.decode
        if self.tokens is None:
            step_s[:, 0] += m.prefill_s * begin.tokens
            step_s += m.context_s[:, None] * self.read
            step_s[:, 0] += m.pair_s * begin.pairs
        else:
            step_s += m.prefill_s[:, None] * self.tokens
            step_s += m.context_s[:, None] * self.read
            step_s += m.pair_s[:, None] * self.pairs
        if crowding is not None:
            extra_s = crowding.extra_s(self.decode.ravel(), self.all_tokens().ravel())
            step_s += extra_s.reshape(step_s.shape)
        step_s *= factors
        self.step_s: Floats = step_s
        end_s = step_s.copy()
        end_s[:, 0] += begin.clock
        self.end_s: Floats = end_s.cumsum(axis=1)

    def all_tokens(self) -> Ints:
        """Prompt tokens of each step."""
        if self.tokens is not None:
            return self.tokens
        tokens = np.zeros_like(self.decode)
        tokens[:, 0] = self.begin.tokens
        return tokens

    def stopped(self, more: Bools | None) -> None:
        """Gives `taken`; `more` [row, step] are steps that may not be taken."""
        begin, starts_s = self.begin, self.end_s[:, :-1]
        stop = np.ones(self.decode.shape, np.bool_)  # at the last one, whatever it is
        within = stop[:, :-1]
        np.greater_equal(starts_s, begin.hard_until_s[:, None], out=within)
        room = self._gone[:, 1:] > -begin.free[:, None]
        within |= room & (starts_s >= begin.until_s[:, None])
        nothing = self.decode[:, 1:] == 0
        if self.tokens is not None:
            nothing &= self.tokens[:, 1:] == 0
            prompt = np.where(begin.output > 0, np.iinfo(np.int64).max, begin.prompt)
            within |= (self.upto[:, 1:] >= prompt[:, None]) & (self.tokens[:, 1:] > 0)
            if self.completes:  # when the answer ends is not in what is due
                within |= (self.told[:, 1:] >= begin.output[:, None] - 1) & self.complete[:, 1:]
        within |= nothing
        if more is not None:
            within |= more[:, 1:]
        self.taken: Ints = stop.argmax(axis=1) + 1


def windowed_pairs(tokens: Ints, window: Ints) -> Ints:
    """`des_context.windowed_pairs` of arrays."""
    growing = np.minimum(tokens, window)
    pairs: Ints = growing * (growing + 1) // 2 + (tokens - growing) * window
    return pairs
