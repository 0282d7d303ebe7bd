"""Requests at a steady rate, whatever becomes of those before them; then what became of each."""

import threading
import time
from collections import Counter
from types import TracebackType
from typing import Any


class OpenLoop:
    """Sends from entering until leaving the `with` block, and then waits for the last answers.

    A worker that `echoes` repeats the prompt; of another one any text is right.
    """

    def __init__(
        self, worker: Any, rate_rps: float, max_tokens: int, *, echoes: bool = True
    ) -> None:
        self._worker, self._gap_s, self._max_tokens = worker, 1 / rate_rps, max_tokens
        self._echoes = echoes
        self._over = threading.Event()
        self._asking: list[threading.Thread] = []
        self._pacing = threading.Thread(target=self._pace)
        self.wrong: list[str] = []
        self.sent = 0

    def __enter__(self) -> "OpenLoop":
        self._pacing.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        self._pacing.join()
        for thread in self._asking:
            thread.join()

    def _pace(self) -> None:
        due = time.monotonic()
        while not self._over.wait(max(0.0, due - time.monotonic())):
            due += self._gap_s
            self._asking.append(threading.Thread(target=self._ask, args=(self.sent,)))
            self.sent += 1
            self._asking[-1].start()

    def _ask(self, number: int) -> None:
        prompt = f"request {number} "
        expected = (prompt * self._max_tokens)[: self._max_tokens]
        try:
            answer = self._worker.complete(prompt, max_tokens=self._max_tokens)
            text = answer.json()["choices"][0]["text"]
        except Exception as error:  # noqa: BLE001 (whatever it is, the request was not served)
            self.wrong.append(repr(error))
        else:
            if self._echoes and text != expected:
                self.wrong.append(f"{text!r} is not {expected!r}")


def outcomes_of(worker: Any) -> Counter[str]:
    return Counter(exposure["outcome"] for exposure in worker.exposures())
