"""Many made-up workers behind one port, as docs/worker-api.md has them; a process of its own.

    python -m experiments.studies.control_plane_scale.workers

prints its port. Worker `n` is at `/w/n`: requests end at a steady rate, and steps are taken.
"""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs

import uvicorn

from experiments.studies.scrape_cost.pages import FIRST_S, SHORT_S, TOKENS, WHOLE_S

RATE_RPS = 2.0  # of each worker
STEPS_PER_S = 20.0
PAGE_ROWS = 1000
SETTINGS: dict[str, Any] = {
    "max_num_seqs": 8, "max_num_batched_tokens": 512, "batch_timeout_ms": 0,
    "schedule_policy": "fcfs",
}  # fmt: skip
CAPABILITIES = {
    "max_num_seqs": {"type": "int", "min": 1, "max": 256},
    "max_num_batched_tokens": {"type": "int", "min": 16, "max": 8192},
    "batch_timeout_ms": {"type": "int", "min": 0, "max": 100},
    "schedule_policy": {"type": "choice", "values": ["fcfs", "length-grouped"]},
}
HISTOGRAMS = {
    "time_to_first_token_seconds": FIRST_S,
    "inter_token_latency_seconds": SHORT_S,
    "request_time_per_output_token_seconds": SHORT_S,
    "e2e_request_latency_seconds": WHOLE_S,
    "request_queue_time_seconds": WHOLE_S,
    "request_max_gap_seconds": SHORT_S,
    "request_prompt_tokens": TOKENS,
    "request_generation_tokens": TOKENS,
    "iteration_tokens_total": TOKENS,
}

Send = Callable[[dict[str, Any]], Awaitable[None]]
Receive = Callable[[], Awaitable[dict[str, Any]]]


@dataclass
class Worker:
    """One worker: all that it tells follows from how long it has run."""

    boot_id: str
    began: float = field(default_factory=time.time)
    generation: int = 1
    settings: dict[str, Any] = field(default_factory=lambda: dict(SETTINGS))
    applied_at: float = field(default_factory=time.time)
    generations: list[tuple[float, int]] = field(default_factory=lambda: [(0.0, 1)])

    def get(self, path: str, query: dict[str, list[str]]) -> bytes:
        after = int(query.get("after", ["0"])[0])
        if path == "/metrics":
            return self.page().encode()
        if path == "/admin/exposures":
            return self.log(after, RATE_RPS, "exposures", self.exposure, in_flight={})
        if path == "/admin/steps":
            return self.log(after, STEPS_PER_S, "steps", self.step)
        if path == "/admin/feedback":
            return self.log(after, 0.0, "feedback", self.step)
        return self.told()

    def put(self, body: dict[str, Any]) -> tuple[int, bytes]:
        if body["generation"] != self.generation:
            error = {"type": "stale_generation", "message": "settings were changed"}
            return 409, json.dumps({"error": error}).encode()
        self.settings |= body["settings"]
        self.generation += 1
        self.applied_at = time.time()
        self.generations.append((self.applied_at, self.generation))
        return 200, self.told()

    def told(self) -> bytes:
        return json.dumps(
            {
                "boot_id": self.boot_id, "generation": self.generation, "now": time.time(),
                "applied_at": self.applied_at, "model": "made-up", "rebuilding": None,
                "settings": self.settings, "capabilities": CAPABILITIES,
            }
        ).encode()  # fmt: skip

    def log(
        self,
        after: int,
        rate: float,
        name: str,
        row: Callable[[int, float], dict[str, Any]],
        **more: Any,
    ) -> bytes:
        now = time.time()
        last = int((now - self.began) * rate)
        oldest = max(1, last - 65_536)
        first = max(after, oldest - 1) + 1
        rows = [row(seq, self.began + seq / rate) for seq in range(first, last + 1)[:PAGE_ROWS]]
        head = {
            "boot_id": self.boot_id, "now": now, "oldest": oldest, "overrun": False,
            "next": rows[-1]["seq"] if rows else after, name: rows, **more,
        }  # fmt: skip
        return json.dumps(head).encode()

    def at(self, moment: float) -> int:
        return next(number for since, number in reversed(self.generations) if since <= moment)

    def exposure(self, seq: int, ended: float) -> dict[str, Any]:
        late = seq % 10 == 0  # one in ten misses its first deadline
        arrival = ended - (3.0 if late else 1.0)
        return {
            "seq": seq, "id": f"cmpl-{seq}", "arrival": arrival,
            "generation_start": self.at(arrival), "generation_end": self.at(ended),
            "queue_s": 0.01, "ttft_s": 2.0 if late else 0.2 + seq % 7 / 50, "tpot_s": 0.03,
            "gap_max_s": 0.06, "e2el_s": ended - arrival, "prompt_tokens": 80 + seq % 160,
            "output_tokens": 24, "cached_tokens": 0, "outcome": "stop",
        }  # fmt: skip

    def step(self, seq: int, at: float) -> dict[str, Any]:
        return {
            "seq": seq, "at": at, "step_s": 0.03, "decode_seqs": 1 + seq % 6, "prefill_tokens": 0,
            "context_tokens": 200 + seq % 800, "prefill_pairs": 0, "generation": self.at(at),
            "replica": 0,
        }  # fmt: skip

    def page(self) -> str:
        ended = int((time.time() - self.began) * RATE_RPS)
        label = '{model_name="made-up"}'
        lines = [
            f"worker:num_requests_running{label} 3",
            f"worker:num_requests_waiting{label} 0",
            f"worker:kv_cache_usage_perc{label} 0.3",
            f"worker:settings_generation{label} {self.generation}",
            f"worker:prompt_tokens_total{label} {160 * ended}",
            f"worker:generation_tokens_total{label} {24 * ended}",
            f'worker:requests_total{{model_name="made-up",outcome="stop"}} {ended}',
            f"process_start_time_seconds {self.began}",
        ]
        for name, bounds in HISTOGRAMS.items():
            middle = len(bounds) // 2
            for index, bound in enumerate((*map(str, bounds), "+Inf")):
                count = ended if index >= middle else 0
                lines.append(f'worker:{name}_bucket{{model_name="made-up",le="{bound}"}} {count}')
            lines.append(f"worker:{name}_sum{label} {ended * bounds[middle] * 0.8}")
            lines.append(f"worker:{name}_count{label} {ended}")
        return "\n".join(lines) + "\n"


class Workers:
    """The application: workers come into being when they are asked for."""

    def __init__(self) -> None:
        self._workers: dict[str, Worker] = {}

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        _, _, name, path = scope["path"].split("/", 3)
        worker = self._workers.setdefault(name, Worker(f"boot-{name}"))
        status, content = 200, b""
        if scope["method"] == "PUT":
            status, content = worker.put(json.loads(await _body(receive)))
        else:
            content = worker.get(f"/{path}", parse_qs(scope["query_string"].decode()))
        kind = b"text/plain" if path == "metrics" else b"application/json"
        headers = [(b"content-type", kind), (b"content-length", str(len(content)).encode())]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": content})


async def _body(receive: Receive) -> bytes:
    parts, more = [], True
    while more:
        message = await receive()
        parts.append(message.get("body", b""))
        more = message.get("more_body", False)
    return b"".join(parts)


def main() -> None:
    """Serves until it is ended."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        print(listening.getsockname()[1], flush=True)
        config = uvicorn.Config(Workers(), log_config=None, lifespan="off", access_log=False)
        asyncio.run(uvicorn.Server(config).serve(sockets=[listening]))


if __name__ == "__main__":
    main()
