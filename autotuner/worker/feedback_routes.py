"""Feedback over HTTP: users send a score for an answer, the daemon reads the scores by cursor."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, ConfigDict, Field, field_validator

from autotuner.worker.admin_guard import AdminGuard
from autotuner.worker.cursor import MAX_PAGE_RECORDS, After, Limit, stamp
from autotuner.worker.errors import ApiError
from autotuner.worker.feedback import Taken
from autotuner.worker.http_io import read_body
from autotuner.worker.openai_schema import parse
from autotuner.worker.worker import Worker

MAX_BODY_BYTES = 16_384  # a comment of 1000 characters, each escaped as JSON may
MAX_COMMENT_CHARS = 1000


class FeedbackBody(BaseModel):
    """The body of `POST /v1/feedback`; a score of true is 1, of false 0."""

    model_config = ConfigDict(strict=True, extra="forbid")

    id: str = Field(min_length=1, max_length=200)
    score: float = Field(ge=0.0, le=1.0, allow_inf_nan=False)
    comment: str | None = Field(None, max_length=MAX_COMMENT_CHARS)

    @field_validator("score", mode="before")
    @classmethod
    def _thumb(cls, value: Any) -> Any:
        return float(value) if isinstance(value, bool) else value


def feedback_routes(worker: Worker) -> APIRouter:
    """The route for users, and the log for whoever may call the admin API."""
    router = APIRouter()
    guard = AdminGuard(worker.options.admin_token)

    @router.post("/v1/feedback")
    async def post_feedback(request: Request) -> Response:
        body = _parse(await read_body(request, MAX_BODY_BYTES))
        taken = worker.feedback.take(body.id, body.score, len(body.comment or ""))
        if taken is None:
            raise ApiError(
                404,
                f"id={body.id!r}: no finished request of this id among the last ones: "
                "give the `id` of an answer, soon after it ended",
                param="id",
                code="unknown_request",
            )
        replaced = taken is Taken.REPLACED
        return JSONResponse({"id": body.id, "score": body.score, "replaced": replaced})

    @router.get("/admin/feedback", dependencies=[Depends(guard)])
    async def get_feedback(after: After = 0, limit: Limit = MAX_PAGE_RECORDS) -> Response:
        page = worker.feedback.page(after, min(limit, MAX_PAGE_RECORDS))
        return JSONResponse(stamp(worker) | page)

    return router


def _parse(raw: bytes) -> FeedbackBody:
    """The body; raises ApiError 400 when it is no JSON object, 422 when a field is wrong."""
    try:
        return parse(FeedbackBody, raw)
    except ApiError as error:
        if error.param != "body":
            error.status = 422
        raise
