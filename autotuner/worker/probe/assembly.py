"""Puts a worker's probe together: golden items, tokenizer, float32 reference and live model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from autotuner.worker.chat_template import ChatTemplate, ChatTemplateError
from autotuner.worker.front import Front
from autotuner.worker.metric_maker import MetricMaker
from autotuner.worker.probe.golden import GoldenError, GoldenItem, built_in, parse_golden
from autotuner.worker.probe.golden_file import GoldenFile
from autotuner.worker.probe.golden_source import GoldenSource
from autotuner.worker.probe.live_model import FrontModel
from autotuner.worker.probe.metrics import ProbeMetrics
from autotuner.worker.probe.service import Probe
from autotuner.worker.probe.tokenise import GoldenTokeniser
from autotuner.worker.tokens import TextTokenizer
from autotuner.worker.weights import cache_folder


def make_probe(
    front: Front,
    model: Path,
    tokenizer: TextTokenizer,
    chat_template: ChatTemplate,
    max_model_len: int,
    make: MetricMaker,
    golden: Path | None = None,
) -> Probe:
    """The probe of the model that `front` serves, with the items of file `golden` or built-in ones.

    Raises GoldenError for a golden file that can't be used; nothing is computed yet.
    """
    tokeniser = GoldenTokeniser(tokenizer, chat_template, max_model_len)

    def source_of(items: Sequence[GoldenItem]) -> GoldenSource:
        return GoldenSource(model, tokeniser.tokens(items), cache_folder(), max_model_len)

    return Probe(
        source_of(built_in(chat=_chats(chat_template)))
        if golden is None
        else GoldenFile(golden, lambda file: source_of(read_golden(file))),
        FrontModel(front),
        lambda: front.settings.in_force.generation,
        ProbeMetrics(make),
    )


def read_golden(file: Path) -> Sequence[GoldenItem]:
    """The items of a JSONL file; raises GoldenError, for one that can't be read as well."""
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise GoldenError(f"golden={str(file)!r}: {error}: give a readable JSONL file") from error
    return parse_golden(text, file.name)


def _chats(chat_template: ChatTemplate) -> bool:
    try:
        chat_template.render([{"role": "user", "content": "?"}])
    except ChatTemplateError:
        return False
    return True
