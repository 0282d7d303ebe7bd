"""A worker whose engine is a fake: it repeats the prompt, token by token, and follows the knobs.

Run as a script, it is the real front on a real socket, with the fake in the engine's process. Its
tokenizer has one token per byte, so that a test's prompt decides the answer to the byte.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
import threading
import time
from dataclasses import dataclass, field
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

from autotuner.worker.engine_client import Backoff
from autotuner.worker.engine_options import EngineOptions
from autotuner.worker.front import FrontLimits
from autotuner.worker.messages import (
    AbortRequest,
    AddRequest,
    ApplySettings,
    EngineFailed,
    EngineReady,
    FinishReason,
    ScoreOutput,
    ScoreRequest,
    SettingsApplied,
    Shutdown,
    StepOutput,
    TokenOutput,
)
from autotuner.worker.options import WorkerOptions
from autotuner.worker.serve import WorkerOptionError, serve
from autotuner.worker.settings import Limits, WorkerSettings

LIMITS = Limits(
    64, 4096, max_tensor_parallel=2, max_pipeline_parallel=2, max_ranks=4, max_threads=4
)
CHAT_TEMPLATE = (
    "{% for message in messages %}{% if message.role == 'tool' %}"
    "{{ raise_exception('no tools') }}{% endif %}{{ message.content }}{% endfor %}"
)


@dataclass
class Sequence:
    request: AddRequest
    produced: int = 0
    admitted_at: float | None = None


@dataclass
class FakeEngine:
    """Whole prompts are computed in the step that also makes their first token."""

    conn: Connection
    step_s: float
    options: EngineOptions
    eos: int
    waiting: list[Sequence] = field(default_factory=list)
    running: list[Sequence] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.settings, self.generation = self.options.settings, self.options.generation

    def serve(self) -> None:
        while True:
            busy = bool(self.waiting or self.running)
            while self.conn.poll(0 if busy else None):
                message = self.conn.recv()
                if isinstance(message, Shutdown):
                    return
                self.obey(message)
                busy = bool(self.waiting or self.running)
            self.conn.send(self.step())

    def obey(self, message: AddRequest | AbortRequest | ApplySettings | ScoreRequest) -> None:
        if isinstance(message, AddRequest):
            self.waiting.append(Sequence(message))
        elif isinstance(message, ScoreRequest):
            scored = message.token_ids[message.first :]
            self.conn.send(ScoreOutput(message.request_id, [0.0] * len(scored), scored))
        elif isinstance(message, AbortRequest):
            self.waiting = [s for s in self.waiting if s.request.request_id != message.request_id]
            self.running = [s for s in self.running if s.request.request_id != message.request_id]
        else:
            self.settings, self.generation = message.settings, message.generation
            self.conn.send(SettingsApplied(message.settings, message.generation, time.time()))

    def step(self) -> StepOutput:
        room = self.settings.max_num_seqs - len(self.running)
        new, self.waiting = self.waiting[:room], self.waiting[room:]
        for sequence in new:
            sequence.admitted_at = time.time()
        decoded = len(self.running)
        self.running += new
        time.sleep(self.step_s)
        tokens = [self.token(sequence) for sequence in self.running]
        ended = {output.request_id for output in tokens if output.finish}
        self.running = [s for s in self.running if s.request.request_id not in ended]
        return StepOutput(
            at=time.time(),
            step_s=self.step_s,
            decode_seqs=decoded,
            prefill_tokens=sum(len(s.request.prompt_token_ids) for s in new),
            context_tokens=sum(len(s.request.prompt_token_ids) for s in self.running),
            running=len(self.running),
            waiting=len(self.waiting),
            kv_usage=len(self.running) / LIMITS.max_num_seqs,
            generation=self.generation,
            prefix_queries=sum(len(s.request.prompt_token_ids) for s in new),
            prefix_hits=sum(cached(s.request) for s in new),
            replica=self.options.replica,
            tokens=tokens,
        )

    def token(self, sequence: Sequence) -> TokenOutput:
        request, prompt = sequence.request, sequence.request.prompt_token_ids
        token_id = prompt[sequence.produced % len(prompt)]
        sequence.produced += 1
        finish: FinishReason | None = None
        if token_id == self.eos and not request.sampling.ignore_eos:
            finish = "stop"
        elif sequence.produced == request.sampling.max_tokens:
            finish = "length"
        if sequence.produced > 1:
            return TokenOutput(request.request_id, token_id, finish)
        return TokenOutput(
            request.request_id,
            token_id,
            finish,
            sequence.admitted_at,
            cached_tokens=cached(request),
        )


def cached(request: AddRequest) -> int:
    """The fake finds every whole block of 16 tokens but the last one in its prefix cache."""
    return (len(request.prompt_token_ids) - 1) // 16 * 16


def run_fake(
    step_s: float, modes: dict[str, str], conn: Connection, options: EngineOptions
) -> None:
    """The engine's main function. `modes` has one per weight_dtype, float32's is the default.

    Modes: ready; loading (never ready); failing (can't load); dying (ends without a word).
    """
    mode = modes.get(options.settings.weight_dtype, modes["float32"])
    if mode == "dying":
        os._exit(3)
    if mode == "failing":
        conn.send(EngineFailed("no such weights"))
        return
    if mode == "loading":
        threading.Event().wait()  # as long as a real one loads, it does not read the pipe
    conn.send(EngineReady(LIMITS, options.model.name, "float32", 0.0))
    eos = byte_tokenizer().token_to_id("<|end|>")
    assert eos is not None
    try:
        FakeEngine(conn, step_s, options, eos).serve()
    except (EOFError, OSError):
        return


def byte_tokenizer() -> Tokenizer:
    """One token per byte, and <|end|>."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={c: i for i, c in enumerate(alphabet)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken("<|end|>", special=True)])
    return tokenizer


def write_model(folder: Path) -> Path:
    """A model folder as far as the front reads it."""
    folder.mkdir(exist_ok=True)
    byte_tokenizer().save(str(folder / "tokenizer.json"))
    config = {"eos_token": "<|end|>", "chat_template": CHAT_TEMPLATE}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return folder


def options_of(args: argparse.Namespace) -> WorkerOptions:
    return WorkerOptions(
        engine=EngineOptions(
            model=write_model(args.folder),
            settings=WorkerSettings(
                max_num_seqs=args.max_num_seqs, data_parallel_size=args.data_parallel_size
            ),
        ),
        host=args.host,
        port=args.port,
        admin_token=args.admin_token,
        front=FrontLimits(max_queue=args.max_queue, request_timeout_s=args.request_timeout_s),
        backoff=Backoff(first_s=0.05),
        max_body_bytes=100_000,
        drain_s=args.drain_s,
        apply_timeout_s=args.apply_timeout_s,
        rebuild_timeout_s=args.rebuild_timeout_s,
        engine_target=partial(run_fake, args.step_s, {"float32": args.mode, "int8": args.int8}),
    )


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--mode", default="ready")
    parser.add_argument("--int8", default="ready", help="the mode with weights in int8")
    parser.add_argument("--data-parallel-size", type=int, default=1)
    parser.add_argument("--rebuild-timeout-s", type=float, default=30.0)
    parser.add_argument("--step-s", type=float, default=0.002)
    parser.add_argument("--max-num-seqs", type=int, default=32)
    parser.add_argument("--max-queue", type=int, default=64)
    parser.add_argument("--request-timeout-s", type=float, default=60.0)
    parser.add_argument("--apply-timeout-s", type=float, default=10.0)
    parser.add_argument("--drain-s", type=float, default=10.0)
    parser.add_argument("--admin-token")
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO)
    try:
        return serve(options_of(args))
    except WorkerOptionError as error:
        sys.stderr.write(f"{error}\n")
        return 2


if __name__ == "__main__":
    sys.exit(main())
