"""SmolLM2-135M with int8 weights, held to the answers of its float32 self."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
import torch
from prometheus_client import CollectorRegistry

from autotuner.worker.chat_template import ChatTemplate
from autotuner.worker.metric_maker import MetricMaker
from autotuner.worker.probe.golden import built_in
from autotuner.worker.probe.golden_source import GoldenSource
from autotuner.worker.probe.metrics import ProbeMetrics
from autotuner.worker.probe.service import Probe
from autotuner.worker.probe.tokenise import GoldenTokeniser
from autotuner.worker.tokens import TextTokenizer
from autotuner.worker.weights import cache_folder
from tests.integration.worker_quality.scoring import EngineModel, make_engine

pytestmark = [pytest.mark.model]

CONTEXT = 2048


def test_int8_weights_agree_with_float32(smollm: Path) -> None:
    torch.set_num_threads(1)
    tokenizer, template = TextTokenizer.from_folder(smollm), ChatTemplate.from_folder(smollm)
    items = GoldenTokeniser(tokenizer, template, CONTEXT).tokens(built_in(chat=True))
    source = GoldenSource(smollm, items, cache_folder(), CONTEXT)
    engine = make_engine(smollm, "int8")
    metrics = ProbeMetrics(MetricMaker(CollectorRegistry(), "smollm"))
    probe = Probe(source, EngineModel(engine), lambda: 1, metrics)
    result = asyncio.run(probe.run())
    assert result.tokens > 300
    assert result.agreement > 0.93
    assert result.mean_log_prob_drop < 0.02
