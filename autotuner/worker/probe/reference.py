"""The float32 model's answers to golden prompts, and its log-probabilities of golden answers.

A process of its own, started by `golden_source`: items come as JSON on standard input, the set
goes to the file named. It is the one part of the probe that imports torch.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from autotuner.worker.engine import Engine
from autotuner.worker.engine_options import EngineOptions
from autotuner.worker.messages import AddRequest, SamplingParams, ScoreOutput, ScoreRequest
from autotuner.worker.model_cache import made_once
from autotuner.worker.settings import WorkerSettings

KV_CACHE_GIB = 0.5
NICENESS = 10  # serving goes first, yet the set is made in the end


def main(arguments: Sequence[str]) -> int:
    """`python -m autotuner.worker.probe.reference MODEL MAX_MODEL_LEN FILE`, items on stdin."""
    model, max_model_len, path = Path(arguments[0]), int(arguments[1]), Path(arguments[2])
    os.nice(NICENESS)
    asked = json.load(sys.stdin)

    def make(partial: Path) -> None:
        partial.write_text(json.dumps(reference(model, max_model_len, asked)), encoding="utf-8")

    made_once(path, make)
    return 0


def reference(
    model: Path, max_model_len: int, asked: Sequence[dict[str, Any]]
) -> list[dict[str, Any]]:
    """`answer` and `log_probs` of each of `asked` (`prompt`, `answer` or None, `max_tokens`).

    Raises ModelError, and RuntimeError for an item that the model can't answer or score.
    """
    options = EngineOptions(
        model=model,
        max_model_len=max_model_len,
        kv_cache_gib=KV_CACHE_GIB,
        max_ranks=1,
        settings=WorkerSettings(weight_dtype="float32"),
    )
    engine = Engine(options)
    try:
        answers = _answers(engine, asked)
        return [
            {"answer": answer, "log_probs": _log_probs(engine, item["prompt"], answer)}
            for item, answer in zip(asked, answers, strict=True)
        ]
    finally:
        engine.close()


def _answers(engine: Engine, asked: Sequence[dict[str, Any]]) -> list[list[int]]:
    """Given answers as they are, the others generated greedily, all in one batch."""
    answers = {str(i): list(item["answer"] or []) for i, item in enumerate(asked)}
    for request_id, item in zip(answers, asked, strict=True):
        if item["answer"] is None:
            sampling = SamplingParams(max_tokens=item["max_tokens"], temperature=0.0)
            engine.add(AddRequest(request_id, list(item["prompt"]), sampling, time.time()))
    while engine.wait_s() == 0.0:
        for output in engine.step().tokens:
            if output.error is not None:
                raise RuntimeError(f"golden item {int(output.request_id) + 1}: {output.error}")
            if output.token_id is not None:
                answers[output.request_id].append(output.token_id)
    return list(answers.values())


def _log_probs(engine: Engine, prompt: Sequence[int], answer: Sequence[int]) -> list[float]:
    request = ScoreRequest("score", [*prompt, *answer], len(prompt))
    scored: list[ScoreOutput] = []
    if (refused := engine.score(request)) is not None:
        scored.append(refused)
    while not scored:
        engine.step()
        scored += engine.scored()
    if scored[0].error is not None:
        raise RuntimeError(f"golden answer: {scored[0].error}")
    return scored[0].log_probs


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
