"""Command lines of vLLM and of SGLang as far as a test needs them, parsed as the real ones are.

An unknown flag ends the process with the usage and exit code 2, as argparse does there too.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import Any

VERSIONS = {"vllm": "0.33.0", "sglang": "0.5.23"}
PROGRAMS = {"vllm": "vllm serve", "sglang": "launch_server.py"}


@dataclass(frozen=True)
class Flags:
    """What the server was started with; `settings` are its own flags with underscores."""

    kind: str
    scene: str
    host: str
    port: int
    model: str
    settings: dict[str, Any]

    @property
    def max_seqs(self) -> int:
        name = "max_num_seqs" if self.kind == "vllm" else "max_running_requests"
        return int(self.settings[name])

    @property
    def budget(self) -> int:
        name = "max_num_batched_tokens" if self.kind == "vllm" else "chunked_prefill_size"
        return int(self.settings[name])


def parsed(words: list[str]) -> Flags:
    """The flags; leaves the process as the real server does where one is unknown."""
    own = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    own.add_argument("--kind", choices=list(VERSIONS), required=True)
    own.add_argument("--scene", default="")
    known, rest = own.parse_known_args(words)
    if known.kind == "vllm":
        rest = rest[1:] if rest[:1] == ["serve"] else rest
        rest = [_dashed(word) for word in rest]
    parser = _vllm() if known.kind == "vllm" else _sglang()
    found = vars(parser.parse_args(rest))
    host, port, model = found.pop("host"), found.pop("port"), found.pop("model")
    served = found.pop("served_model_name")
    return Flags(known.kind, known.scene, host, port, served or model, found)


def _dashed(word: str) -> str:
    """vLLM takes --max_num_seqs for --max-num-seqs."""
    if not word.startswith("--"):
        return word
    flag, *value = word.split("=", 1)
    return "=".join([flag.replace("_", "-"), *value])


def _vllm() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=PROGRAMS["vllm"], allow_abbrev=False)
    parser.add_argument("model", nargs="?", default="fake/model")
    _front(parser, port=8000)
    parser.add_argument("--max-num-seqs", type=int, default=256)
    parser.add_argument("--max-num-batched-tokens", type=int, default=2048)
    parser.add_argument("--gpu-memory-utilization", type=float, default=0.92)
    parser.add_argument("--max-model-len", type=int, default=2048)
    parser.add_argument("--block-size", type=int, default=16)
    parser.add_argument("--kv-cache-dtype", choices=["auto", "fp8"], default="auto")
    for name in ("enable-prefix-caching", "enable-chunked-prefill"):
        parser.add_argument(f"--{name}", action=argparse.BooleanOptionalAction, default=True)
    return parser


def _sglang() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=PROGRAMS["sglang"], allow_abbrev=False)
    parser.add_argument("--model-path", "--model", dest="model", default="fake/model")
    _front(parser, port=30000)
    parser.add_argument("--max-running-requests", type=int, default=64)
    parser.add_argument("--chunked-prefill-size", type=int, default=8192)
    parser.add_argument("--max-prefill-tokens", type=int, default=16384)
    parser.add_argument("--mem-fraction-static", type=float, default=0.88)
    parser.add_argument("--cuda-graph-max-bs-decode", type=int, default=32)
    parser.add_argument("--schedule-policy", choices=["fcfs", "lpm"], default="fcfs")
    parser.add_argument("--schedule-conservativeness", type=float, default=1.0)
    parser.add_argument("--context-length", type=int, default=2048)
    for name in ("enable-metrics", "disable-radix-cache", "enable-mixed-chunk"):
        parser.add_argument(f"--{name}", action="store_true")
    return parser


def _front(parser: argparse.ArgumentParser, port: int) -> None:
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=port)
    parser.add_argument("--served-model-name")
