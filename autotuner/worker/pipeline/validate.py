"""The first stage: a body that is what its sender meant, in OpenAI's format, for this model."""

from __future__ import annotations

from autotuner.fronts.bodies import parse
from autotuner.fronts.errors import ApiError
from autotuner.worker.openai_schema import ChatBody, CompletionBody, check_model
from autotuner.worker.pipeline.digest import check_digest
from autotuner.worker.pipeline.surrogates import without_lone_surrogates

Body = CompletionBody | ChatBody


def validate(kind: type[Body], raw: bytes, content_digest: str | None, model_name: str) -> Body:
    """The body, parsed; raises ApiError 400 (digest, format) or 404 (another model)."""
    if content_digest is not None:
        check_digest(content_digest, raw)
    body = _parse(kind, raw)
    check_model(body.model, model_name)
    return body


def _parse(kind: type[Body], raw: bytes) -> Body:
    try:
        return parse(kind, raw)
    except ApiError as error:
        whole = without_lone_surrogates(raw) if error.code == "invalid_json" else raw
        if whole == raw:
            raise
        return parse(kind, whole)
