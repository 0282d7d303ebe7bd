"""An answer while it grows: the engine's tokens in, pieces of text for the user out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from autotuner.fronts.errors import ApiError
from autotuner.fronts.exposures import Outcome
from autotuner.worker.messages import FinishReason, TokenOutput
from autotuner.worker.tokens import Decodes, Detokenizer, StopScanner


@dataclass(frozen=True)
class Piece:
    """Text of one token, perhaps empty; the last piece has the outcome, a failed one the error."""

    text: str
    outcome: Outcome | None = None
    error: ApiError | None = None


class Answer:
    """One request's text so far."""

    def __init__(self, tokenizer: Decodes, stops: Sequence[str]) -> None:
        self._detokenizer = Detokenizer(tokenizer)
        self._stops = StopScanner(stops)

    def push(self, output: TokenOutput) -> Piece:
        """The piece that this token brings; a stop string ends the answer in any case."""
        text = "" if output.token_id is None else self._detokenizer.push(output.token_id)
        if output.finish is not None:
            text += self._detokenizer.flush()
        shown, stopped = self._stops.push(text)
        if stopped:
            return Piece(shown, "stop")
        if output.finish is None:
            return Piece(shown)
        return _last_piece(shown + self._stops.flush(), output.finish, output.error)


def _last_piece(text: str, finish: FinishReason, error: str | None) -> Piece:
    if finish == "stop" or finish == "length":
        return Piece(text, finish)
    # An abort that the front did not ask for is the engine's failure, not the user's wish.
    return Piece(text, "error", ApiError(500, error or "the engine gave the request up"))
