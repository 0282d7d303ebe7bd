"""The prompts that wait for their first token: the batch that padding would be paid for."""

from __future__ import annotations

from autotuner.worker.request_state import RequestState


class WaitingPrompts:
    """Requests from the moment they are taken until their first token, or until they end."""

    def __init__(self) -> None:
        self._states: dict[str, RequestState] = {}

    def enter(self, state: RequestState) -> None:
        self._states[state.request_id] = state

    def leave(self, state: RequestState) -> None:
        """One that is not there is no error."""
        self._states.pop(state.request_id, None)

    def lengths(self) -> list[int]:
        """Prompt tokens of each request that still waits."""
        started = [state for state in self._states.values() if state.gaps.first_at is not None]
        for state in started:
            self.leave(state)
        return [state.prompt_tokens for state in self._states.values()]
