"""HTTPS in front: a stream through it, and a certificate that is renewed without a restart."""

from __future__ import annotations

import shutil
import subprocess
import time
from pathlib import Path

import pytest
import requests

from experiments.studies.proxy_overhead.processes import Running, proxy, start_proxy, write_config
from experiments.studies.proxy_overhead.source import events
from tests.integration.proxy_command.conftest import CORES

pytestmark = [
    pytest.mark.process,
    pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed"),
]


def certify(cert: Path, key: Path) -> None:
    words = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    words += ["-nodes", "-days", "2", "-subj", "/CN=127.0.0.1", "-addext"]
    words += ["subjectAltName=IP:127.0.0.1", "-out", str(cert), "-keyout", str(key)]
    subprocess.run(words, check=True, capture_output=True, timeout=60)


def answer(running: Running, trusted: Path) -> bytes:
    """Over a connection of its own."""
    body = {"prompt": "x", "max_tokens": 3, "seed": 7, "stream": True}
    body["stream_options"] = {"include_usage": True}
    with requests.Session() as web:
        web.trust_env = False
        url = f"https://127.0.0.1:{running.port}/v1/completions"
        return web.post(url, json=body, timeout=30, verify=str(trusted)).content


def test_a_stream_over_https_and_a_renewed_certificate(
    server: Running, file: Path, tmp_path: Path
) -> None:
    cert, key, old = tmp_path / "cert.pem", tmp_path / "key.pem", tmp_path / "old.pem"
    certify(cert, key)
    old.write_bytes(cert.read_bytes())
    listen = {"port": 0, "tls_cert": str(cert), "tls_key": str(key)}
    write_config(file, [server.url], listen=listen)
    with proxy(file, CORES) as running:
        end = time.monotonic() + 60
        while answer(running, old) != b"".join(events(7, 3)):
            assert time.monotonic() < end
        certify(cert, key)
        running.reload()
        while True:
            try:
                answer(running, cert)
            except requests.exceptions.SSLError:
                assert time.monotonic() < end
            else:
                break
        with pytest.raises(requests.exceptions.SSLError):
            answer(running, old)


def test_files_that_do_not_belong_together_are_refused(
    server: Running, file: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    certify(cert, key)
    certify(tmp_path / "other.pem", key)
    listen = {"port": 0, "tls_cert": str(cert), "tls_key": str(key)}
    with pytest.raises(RuntimeError, match="ended with 2"):
        start_proxy(write_config(file, [server.url], listen=listen), CORES)
    said = capfd.readouterr().err
    assert said.startswith("error: listen.tls_cert=")
    assert "belong together" in said
