"""The fake server as a process: its command line, a port for it, and whether it is up."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import requests

ROOT = Path(__file__).parents[3]
MODEL_WORDS = {"vllm": ["serve", "fake/model"], "sglang": ["--model-path", "fake/model"]}


def command(kind: str, scene: Path) -> list[str]:
    """Without its port and settings, which the launcher adds."""
    words = [sys.executable, "-m", "tests.integration.servers.fake_server"]
    return [*words, f"--kind={kind}", f"--scene={scene}", *MODEL_WORDS[kind]]


def environment() -> dict[str, str]:
    """So that the module is found from any working directory."""
    return {**os.environ, "PYTHONPATH": str(ROOT)}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def start_fake(
    kind: str, scene: Path, *flags: str, port: int = 0
) -> tuple[str, subprocess.Popen[str]]:
    """Its address, and the process with its error stream open."""
    port = port or free_port()
    words = [*command(kind, scene), f"--port={port}", *flags]
    process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True, env=environment())
    return f"http://127.0.0.1:{port}", process


def wait_healthy(url: str, within_s: float = 60.0) -> None:
    end = time.monotonic() + within_s
    while time.monotonic() < end:
        try:
            if requests.get(f"{url}/health", timeout=5).ok:
                return
        except requests.RequestException:
            pass
        time.sleep(0.05)
    raise AssertionError(f"{url} did not become healthy within {within_s:g} s")
