"""What the front (HTTP) and the engine process say to each other over a multiprocessing pipe.

Only plain dataclasses cross; neither side imports the other. The engine sends one `StepOutput`
per step, so that the pipe carries one message a step and not one a token.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from autotuner.worker.settings import Limits, WorkerSettings

FinishReason = Literal["stop", "length", "abort", "error"]


@dataclass(frozen=True)
class SamplingParams:
    """How the next token is drawn. temperature 0 is greedy; top_k 0 is off; top_p 1 is off.

    `seed` makes a request's draws depend on the seed and the position alone, not on its company.
    """

    max_tokens: int = 16
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    seed: int | None = None
    stop_token_ids: tuple[int, ...] = ()
    ignore_eos: bool = False


# ---- front to engine
@dataclass(frozen=True)
class AddRequest:
    request_id: str
    prompt_token_ids: list[int]
    sampling: SamplingParams
    arrival: float  # wall clock, s


@dataclass(frozen=True)
class AbortRequest:
    request_id: str


@dataclass(frozen=True)
class ApplySettings:
    settings: WorkerSettings
    generation: int


@dataclass(frozen=True)
class ScoreRequest:
    """Asks for the model's own opinion of a text: each token from `first` on, given those before.

    `token_ids` must have at least `first + 1` tokens; `first` is 1 or more.
    """

    request_id: str
    token_ids: list[int]
    first: int


@dataclass(frozen=True)
class Shutdown:
    pass


# ---- engine to front
@dataclass(frozen=True)
class EngineReady:
    limits: Limits
    model_name: str
    weight_dtype: str
    load_s: float
    weight_bytes: int = 0  # of the model's weights as they lie in memory, over all ranks
    ops: str = "torch"  # which implementation of the small operations runs


@dataclass(frozen=True)
class SettingsApplied:
    settings: WorkerSettings
    generation: int
    at: float  # wall clock, s: from the next step on these settings act


@dataclass(frozen=True)
class TokenOutput:
    """One request's new token in a step; `finish` is set on its last message.

    `token_id` is None where a request ends without a new token (abort, error). `cached_tokens` are
    the prompt tokens whose K and V were found in the prefix cache.
    """

    request_id: str
    token_id: int | None
    finish: FinishReason | None = None
    admitted_at: float | None = None  # wall clock, s; on the first token only
    error: str | None = None
    cached_tokens: int = 0  # on the first token only


@dataclass(frozen=True)
class StepOutput:
    """One engine step: its tokens, its time, what it was made of, and the state after it."""

    at: float  # wall clock at the step's end, s
    step_s: float
    decode_seqs: int
    prefill_tokens: int
    context_tokens: int
    running: int
    waiting: int
    kv_usage: float  # 0..1
    generation: int
    preemptions: int = 0  # in this step
    prefill_pairs: int = 0  # of a prompt token and a token that it attends to
    prefix_queries: int = 0  # prompt tokens looked up in the prefix cache in this step
    prefix_hits: int = 0  # of these, tokens found there
    padded_rows: int = 0  # that `batch_sizes` added to the decoding ones
    replica: int = 0  # which engine of a data-parallel group
    tokens: list[TokenOutput] = field(default_factory=list)


@dataclass(frozen=True)
class ScoreOutput:
    """Of each token from `first` on: its log-probability, and the token that was most likely there.

    `error` is set, and the rest empty, where the text can't be scored.
    """

    request_id: str
    log_probs: list[float] = field(default_factory=list)
    most_likely: list[int] = field(default_factory=list)
    error: str | None = None


@dataclass(frozen=True)
class EngineFailed:
    """The engine can't go on (failed load, out of memory); the front answers 503 from here on."""

    reason: str


ToEngine = AddRequest | AbortRequest | ApplySettings | ScoreRequest | Shutdown
FromEngine = EngineReady | SettingsApplied | StepOutput | ScoreOutput | EngineFailed
