"""What a server says over HTTP: is it well, what is it, how is it set, does it complete."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from autotuner.proxy.engines.flags import told
from autotuner.proxy.engines.kinds.base import Kind
from autotuner.proxy.ports import Value

_MISSING = 404
_MOST_BYTES = 8 << 20  # chosen: /metrics of a large server is a few hundred kilobytes


@dataclass(frozen=True)
class Reading:
    """What a server tells of itself; `settings` has only what it tells.

    `born`: when its process started, as its metrics say; None where they do not.
    """

    model: str = ""
    max_model_len: int | None = None
    version: str = ""
    settings: Mapping[str, Value] = field(default_factory=dict)
    born: float | None = None


class CompletionError(Exception):
    """A completion gave no token; the text says why. `status` is the HTTP status, None without."""

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class Client(Protocol):
    """How the manager talks to a server."""

    async def healthy(self, url: str, limit_s: float) -> bool:
        """Whether the first health path that it has answers 200 in time."""

    async def read(self, url: str, limit_s: float) -> Reading:
        """What it tells of itself; what does not answer is left empty."""

    async def complete(
        self, url: str, model: str, prompt: str, max_tokens: int, limit_s: float
    ) -> None:
        """One real completion; raises CompletionError where it gives no token."""

    async def close(self) -> None: ...


class HttpClient:
    """A Client over aiohttp; `token` goes as a bearer token with each request."""

    def __init__(self, kind: Kind, token: str | None = None) -> None:
        self._kind = kind
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._kept: aiohttp.ClientSession | None = None

    async def healthy(self, url: str, limit_s: float) -> bool:
        for path in self._kind.health_paths:
            status, _ = await self._asked(url + path, limit_s)
            if status != _MISSING:  # 503 means no, where the path is known
                return status == 200
        return False

    async def read(self, url: str, limit_s: float) -> Reading:
        models = _json(await self._get(f"{url}/v1/models", limit_s))
        model = _first_model(models)
        version, settings = "", {}
        for path in self._kind.version_paths:
            if version := _text_of(_json(await self._get(url + path, limit_s)), "version"):
                break
        for path in self._kind.info_paths:
            if settings := told(_json(await self._get(url + path, limit_s)), self._kind.flags):
                break
        metrics = await self._get(f"{url}/metrics", limit_s) or ""
        labels, born = _metrics(metrics, self._kind.info_metric)
        length = model.get("max_model_len")
        return Reading(
            model=str(model.get("id", "")),
            max_model_len=length if isinstance(length, int) else None,
            version=version,
            settings=told(labels, self._kind.flags) | settings,
            born=born,
        )

    async def complete(
        self, url: str, model: str, prompt: str, max_tokens: int, limit_s: float
    ) -> None:
        body = {"model": model, "max_tokens": max_tokens, "temperature": 0, **self._kind.extra_body}
        try:
            status, answer = await self._post(
                f"{url}/v1/completions", {**body, "prompt": prompt}, limit_s
            )
            if status == _MISSING:  # a server for chat alone
                messages = [{"role": "user", "content": prompt}]
                status, answer = await self._post(
                    f"{url}/v1/chat/completions", {**body, "messages": messages}, limit_s
                )
        except TimeoutError as problem:
            raise CompletionError(f"a completion gave nothing within {limit_s:.0f} s") from problem
        except (aiohttp.ClientError, OSError) as problem:
            raise CompletionError(f"a completion broke off: {problem!r}") from problem
        if status != 200:
            raise CompletionError(f"a completion was answered {status}: {answer[:200]}", status)
        if not _gave_tokens(_json(answer)):
            raise CompletionError(f"a completion gave no token: {answer[:200]}")

    async def close(self) -> None:
        if self._kept is not None:
            await self._kept.close()
            self._kept = None

    def _session(self) -> aiohttp.ClientSession:
        if self._kept is None:
            self._kept = aiohttp.ClientSession(headers=self._headers)
        return self._kept

    async def _get(self, url: str, limit_s: float) -> str | None:
        """The body of a 200; None for any other answer, and for none."""
        status, body = await self._asked(url, limit_s)
        return body if status == 200 else None

    async def _asked(self, url: str, limit_s: float) -> tuple[int, str]:
        """Status and body; status 0 where nothing answers."""
        try:
            async with asyncio.timeout(limit_s), self._session().get(url) as answer:
                return answer.status, await _body(answer)
        except (TimeoutError, aiohttp.ClientError, OSError):
            return 0, ""

    async def _post(self, url: str, body: Mapping[str, Any], limit_s: float) -> tuple[int, str]:
        async with asyncio.timeout(limit_s), self._session().post(url, json=body) as answer:
            return answer.status, await _body(answer)


async def _body(answer: aiohttp.ClientResponse) -> str:
    data = b""
    async for part in answer.content.iter_chunked(65536):
        data += part
        if len(data) > _MOST_BYTES:
            break
    return data.decode(errors="replace")


def _json(text: str | None) -> Any:
    try:
        return json.loads(text) if text else None
    except ValueError:
        return None


def _first_model(data: Any) -> dict[str, Any]:
    models = data.get("data") if isinstance(data, dict) else None
    first = models[0] if isinstance(models, list) and models else None
    return first if isinstance(first, dict) else {}


def _text_of(data: Any, key: str) -> str:
    return str(data.get(key) or "") if isinstance(data, dict) else ""


def _metrics(text: str, info: str) -> tuple[dict[str, str], float | None]:
    """Labels of the metric `info`, and the start of the process."""
    labels: dict[str, str] = {}
    born = None
    try:
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                if info and sample.name == info:
                    labels = dict(sample.labels)
                elif sample.name == "process_start_time_seconds":
                    born = sample.value
    except ValueError:
        return {}, None
    return labels, born


def _gave_tokens(data: Any) -> bool:
    if not isinstance(data, dict):
        return False
    usage = data.get("usage")
    if isinstance(usage, dict) and isinstance(count := usage.get("completion_tokens"), int):
        return count > 0
    choices = data.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else {}
    return bool(first.get("text") or first.get("message")) if isinstance(first, dict) else False
