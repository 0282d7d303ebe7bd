"""What an engine is asked to generate, when each token came, and the figures made of it.

Only the standard library: it runs in the environment of every peer.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass

TokenTimes = list[list[float]]


@dataclass(frozen=True)
class Job:
    """Prompts that are all there at once; each gets exactly `output_tokens` greedy tokens."""

    prompts: list[list[int]]
    output_tokens: int

    @property
    def tokens(self) -> int:
        return len(self.prompts) * self.output_tokens

    def cut_to(self, output_tokens: int) -> Job:
        """The same prompts with at most this many tokens each."""
        return Job(self.prompts, min(self.output_tokens, output_tokens))

    def to_json(self) -> str:
        return json.dumps(asdict(self))


@dataclass(frozen=True)
class Answer:
    """Each request's token times, in seconds after the job began; time of the job by two clocks.

    `cpu_s` is that of all threads of the engine's process.
    """

    token_times_s: TokenTimes
    wall_s: float
    cpu_s: float

    def check(self, job: Job) -> None:
        """Raises RuntimeError where a token is missing or one too many."""
        counts = [len(times) for times in self.token_times_s]
        if counts != [job.output_tokens] * len(job.prompts):
            raise RuntimeError(f"{job.output_tokens} tokens a request were asked for, got {counts}")


@dataclass(frozen=True)
class Loaded:
    """An engine that is ready: what runs a job, and what it is made of."""

    generate: Callable[[Job], TokenTimes]
    versions: dict[str, str]
    note: str = ""


def decode_rate(answer: Answer) -> float:
    """Tokens per second while every request decodes: from the last first token to the first end."""
    begin = max(times[0] for times in answer.token_times_s)
    end = min(times[-1] for times in answer.token_times_s)
    tokens = sum(begin < at <= end for times in answer.token_times_s for at in times)
    return tokens / (end - begin)


def output_rate(answer: Answer) -> float:
    """Output tokens per second up to the last token."""
    end = max(times[-1] for times in answer.token_times_s)
    return sum(map(len, answer.token_times_s)) / end


def prefill_rate(prompt_tokens: int) -> Callable[[Answer], float]:
    """Prompt tokens per second up to the first token of a single request."""
    return lambda answer: prompt_tokens / answer.token_times_s[0][0]
