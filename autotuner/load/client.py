"""One streaming completion against an OpenAI-compatible server, timed by the client."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from http import HTTPStatus
from itertools import pairwise
from time import perf_counter

import aiohttp

from autotuner.domain.errors import TargetUnavailableError
from autotuner.load.plan import PlannedRequest
from autotuner.load.results import Failure, RequestResult
from autotuner.load.sse import StreamReader


@dataclass(frozen=True)
class Sending:
    """A planned request about to be sent: its place, its body, and how late it is."""

    index: int
    planned: PlannedRequest
    body: bytes
    late_s: float = 0.0


def completion_body(model: str, prompt: str, output_tokens: int) -> bytes:
    """A greedy completion of exactly `output_tokens` tokens, streamed, with its usage.

    `ignore_eos` is understood by the worker, vLLM and SGLang; other servers may stop earlier.
    """
    return json.dumps(
        {
            "model": model,
            "prompt": prompt,
            "max_tokens": output_tokens,
            "temperature": 0,
            "ignore_eos": True,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
    ).encode()


class CompletionClient:
    """Sends completions over one pool of connections; use it inside one event loop."""

    def __init__(self, url: str, timeout_s: float, api_key: str | None = None) -> None:
        self._base = base_url(url)
        self._timeout_s = timeout_s
        headers = {"Content-Type": "application/json"}
        if api_key is not None:
            headers["Authorization"] = f"Bearer {api_key}"
        self._session = aiohttp.ClientSession(
            # No limit here: holding requests back would close the loop unseen.
            connector=aiohttp.TCPConnector(limit=0),
            timeout=aiohttp.ClientTimeout(total=timeout_s, sock_connect=min(10.0, timeout_s)),
            headers=headers,
        )

    async def close(self) -> None:
        await self._session.close()

    async def first_model(self) -> str:
        """The first model that the server offers. Raises TargetUnavailableError."""
        url = f"{self._base}/v1/models"
        try:
            async with self._session.get(url, timeout=aiohttp.ClientTimeout(total=10)) as response:
                response.raise_for_status()
                return str((await response.json(content_type=None))["data"][0]["id"])
        except (aiohttp.ClientError, TimeoutError) as error:
            raise TargetUnavailableError(
                f"no answer from {url}: start the server, or mend --url ({error})"
            ) from error
        except (ValueError, KeyError, IndexError, TypeError) as error:
            raise TargetUnavailableError(
                f"{url} names no model: {error!r}; give the model's name"
            ) from error

    async def send(self, sending: Sending) -> RequestResult:
        """Sends once and reads to the end. Never raises: a cancelled one has its result too."""
        started = perf_counter()
        reader = StreamReader()
        failure: Failure | None = None
        try:
            failure, detail = await self._stream(sending.body, reader)
        except asyncio.CancelledError:
            return _result(sending, reader, started, Failure.CANCELLED, "stopped")
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            failure, detail = Failure.UNREACHABLE, str(error)
        except TimeoutError:
            failure, detail = Failure.TIMEOUT, f"no end within {self._timeout_s:g} s"
        except (aiohttp.ClientError, OSError, ValueError) as error:
            failure, detail = Failure.BROKEN, f"{type(error).__name__}: {error}"
        return _result(sending, reader, started, failure, detail)

    async def _stream(self, body: bytes, reader: StreamReader) -> tuple[Failure | None, str]:
        async with self._session.post(f"{self._base}/v1/completions", data=body) as response:
            if response.status != HTTPStatus.OK:
                text = (await response.text(errors="replace"))[:300]
                full = response.status == HTTPStatus.SERVICE_UNAVAILABLE
                kind = Failure.REJECTED if full else Failure.HTTP
                return kind, f"{response.status}: {text}"
            async for data in response.content.iter_any():
                reader.feed(data, perf_counter())
        if reader.error is not None:
            return Failure.STREAM, reader.error
        if not reader.finished or not reader.token_times_s():
            return Failure.BROKEN, "the stream ended before the answer did"
        return None, ""


def base_url(url: str) -> str:
    """The server's address without a trailing slash or `/v1`."""
    return url.rstrip("/").removesuffix("/v1")


def _result(
    sending: Sending, reader: StreamReader, started: float, failure: Failure | None, detail: str
) -> RequestResult:
    times = reader.token_times_s()
    told_prompt, told_output = reader.count("prompt_tokens"), reader.count("completion_tokens")
    output_tokens = len(times) if told_output is None else told_output
    planned = sending.planned
    return RequestResult(
        index=sending.index,
        at_s=planned.at_s,
        late_s=sending.late_s,
        prompt_tokens=planned.prompt_tokens if told_prompt is None else told_prompt,
        output_tokens=output_tokens,
        failure=failure,
        detail=detail,
        ttft_s=times[0] - started if times else None,
        tpot_s=(times[-1] - times[0]) / (output_tokens - 1) if output_tokens > 1 else None,
        e2el_s=(times[-1] if failure is None else perf_counter()) - started,
        gaps_s=tuple(b - a for a, b in pairwise(times)),
    )
