"""Feedback over HTTP: users send a score for an answer, the daemon reads the scores by cursor."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, ConfigDict, Field, field_validator

from autotuner.fronts.admin import Administered, Guard
from autotuner.fronts.bodies import parse
from autotuner.fronts.cursor import MAX_PAGE_RECORDS, After, Limit, stamp
from autotuner.fronts.errors import ApiError
from autotuner.fronts.feedback import FeedbackLog, Taken
from autotuner.fronts.http_io import read_body

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


def feedback_routes(scores: FeedbackLog, behind: Administered, guard: Guard) -> APIRouter:
    """The route for users, and the log for whom `guard` lets through."""
    router = APIRouter()

    @router.post("/v1/feedback")
    async def post_feedback(request: Request) -> Response:
        body = _parse(await read_body(request, MAX_BODY_BYTES))
        taken = scores.take(body.id, body.score, len(body.comment or ""))
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
        page = scores.page(after, min(limit, MAX_PAGE_RECORDS))
        return JSONResponse(stamp(behind.boot_id, behind.now()) | page)

    return router


def _parse(raw: bytes) -> FeedbackBody:
    """The body; raises ApiError 400 when it is no JSON object, 422 when a field is wrong."""
    try:
        return parse(FeedbackBody, raw)
    except ApiError as error:
        if error.param != "body":
            error.status = 422
        raise
