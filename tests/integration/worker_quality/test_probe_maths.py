"""Probes of tiny models, with transformers on the same folder as the oracle."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from prometheus_client import CollectorRegistry
from transformers import AutoModelForCausalLM

from autotuner.worker.metric_maker import MetricMaker
from autotuner.worker.probe.golden import GoldenError
from autotuner.worker.probe.golden_source import GoldenSource
from autotuner.worker.probe.metrics import ProbeMetrics
from autotuner.worker.probe.result import ProbeResult
from autotuner.worker.probe.service import Probe
from autotuner.worker.probe.tokenise import GoldenTokens
from tests.integration.worker_quality.scoring import EngineModel, make_engine

pytestmark = [pytest.mark.process]

GIVEN = GoldenTokens((7, 8, 9), (20, 21, 22, 23), None, 8)
GENERATED = GoldenTokens((5, 6, 40, 41, 42), None, None, 8)
CONTEXT = 64


class Oracle:
    def __init__(self, model: Path) -> None:
        loaded: Any = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
        self._model = loaded.eval()

    @torch.inference_mode()
    def rows(self, prompt: tuple[int, ...], answer: tuple[int, ...]) -> torch.Tensor:
        """log p of every token at the places of the answer: [answer, vocab_size]."""
        logits: torch.Tensor = self._model(torch.tensor([[*prompt, *answer]])).logits[0]
        return logits[len(prompt) - 1 : -1].log_softmax(-1)


def _chosen(rows: torch.Tensor, answer: tuple[int, ...]) -> torch.Tensor:
    return rows.gather(1, torch.tensor(answer)[:, None])[:, 0]


def _source(model: Path, cache: Path, *items: GoldenTokens) -> GoldenSource:
    return GoldenSource(model, items, cache, CONTEXT)


def _probe(model: Path, source: GoldenSource, weights: Any) -> ProbeResult:
    engine = make_engine(model, weights)
    probe = Probe(
        source, EngineModel(engine), lambda: 1, ProbeMetrics(MetricMaker(CollectorRegistry(), "m"))
    )
    try:
        return asyncio.run(probe.run())
    finally:
        engine.close()


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def test_the_reference_is_the_float32_model(tiny: Path, cache: Path) -> None:
    oracle = Oracle(tiny)
    answers = asyncio.run(_source(tiny, cache, GIVEN, GENERATED).answers())
    assert answers[0].answer == GIVEN.answer
    for answer in answers:
        rows = oracle.rows(answer.prompt, answer.answer)
        expected = _chosen(rows, answer.answer)
        assert torch.allclose(torch.tensor(answer.log_probs), expected, atol=1e-3)
    generated = answers[1]
    most_likely = oracle.rows(generated.prompt, generated.answer).argmax(-1)
    assert tuple(most_likely.tolist()) == generated.answer
    assert len(generated.answer) == 8 or generated.answer[-1] == 2  # the end of an answer


def test_a_probe_is_what_a_direct_computation_says(tiny: Path, cache: Path) -> None:
    source = _source(tiny, cache, GIVEN, GENERATED)
    result = _probe(tiny, source, "float32")
    oracle, answers = Oracle(tiny), asyncio.run(source.answers())
    rows = [oracle.rows(golden.prompt, golden.answer) for golden in answers]
    chosen = torch.cat([_chosen(r, a.answer) for r, a in zip(rows, answers, strict=True)])
    agreed = [
        token == int(row.argmax())
        for part, answer in zip(rows, answers, strict=True)
        for row, token in zip(part, answer.answer, strict=True)
    ]
    assert result.tokens == len(chosen)
    assert result.agreement == pytest.approx(sum(agreed) / len(agreed))
    assert result.perplexity == pytest.approx(float((-chosen.mean()).exp()), rel=1e-3)
    assert result.mean_log_prob_drop == pytest.approx(0.0, abs=1e-4)


def test_quantised_weights_show_in_the_drop(tiny: Path, cache: Path) -> None:
    result = _probe(tiny, _source(tiny, cache, GIVEN, GENERATED), "int8")
    assert result.mean_log_prob_drop != 0.0
    assert abs(result.mean_log_prob_drop) < 0.5


def test_the_set_is_made_once(tiny: Path, cache: Path) -> None:
    first = _source(tiny, cache, GIVEN, GENERATED)
    answers = asyncio.run(first.answers())
    made_at = first.path.stat().st_mtime_ns
    again = _source(tiny, cache, GIVEN, GENERATED)
    assert asyncio.run(again.answers()) == answers
    assert again.path == first.path
    assert again.path.stat().st_mtime_ns == made_at
    assert json.loads(first.path.read_text())
    assert _source(tiny, cache, GENERATED).path != first.path


def test_a_set_that_cannot_be_made_is_told_and_not_kept(tiny: Path, tmp_path: Path) -> None:
    source = _source(tiny, tmp_path, GoldenTokens((1, 2), (5000,), None, 8))
    with pytest.raises(GoldenError, match="golden set can't be made"):
        asyncio.run(source.answers())
    assert not source.path.exists()
