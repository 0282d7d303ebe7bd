"""The files that ship, run for real: Prometheus, Alertmanager and node exporter, made quick."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import yaml

from tests.integration.prometheus.expressions import rule_files
from tests.integration.prometheus.tools import (
    ALERTMANAGER,
    DEPLOY,
    NODE_EXPORTER,
    PROMETHEUS,
    Server,
)

QUICK = "1s"


@dataclass
class Receiver:
    """Takes webhooks on a port of its own and keeps their bodies."""

    bodies: list[dict[str, Any]] = field(default_factory=list)
    url: str = ""

    def told(self, alertname: str, status: str) -> list[dict[str, Any]]:
        """The alerts of that name and status that came so far."""
        return [
            alert
            for body in list(self.bodies)
            for alert in body["alerts"]
            if alert["labels"]["alertname"] == alertname and alert["status"] == status
        ]


@contextmanager
def receiving() -> Iterator[Receiver]:
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            receiver.bodies.append(json.loads(body))
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    receiver.url = f"http://127.0.0.1:{server.server_address[1]}/alerts"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@dataclass
class Stack:
    prometheus: Server
    alertmanager: Server
    receiver: Receiver

    def query(self, expr: str) -> list[dict[str, Any]]:
        """The series that the expression gives now; fails the test where it isn't understood."""
        answer = self.prometheus.get("/api/v1/query", query=expr)
        assert answer.ok, (expr, answer.text)
        series: list[dict[str, Any]] = answer.json()["data"]["result"]
        return series

    def rules(self) -> list[dict[str, Any]]:
        groups = self.prometheus.get("/api/v1/rules").json()["data"]["groups"]
        return [rule for group in groups for rule in group["rules"]]


@contextmanager
def running(folder: Path, worker: str, daemon: str, token_file: Path) -> Iterator[Stack]:
    """The whole stack, watching a worker and a daemon ("host:port") under the target's name `t`."""
    with ExitStack() as ended, receiving() as receiver:
        node = Server(NODE_EXPORTER, folder, (), ready="/metrics")
        words = ("--config.file=alertmanager.yml", "--storage.path=am", "--cluster.listen-address=")
        alertmanager = Server(ALERTMANAGER, folder, words)
        prometheus = Server(
            PROMETHEUS, folder, ("--config.file=prometheus.yml", "--storage.tsdb.path=tsdb")
        )
        _write_alertmanager(folder, receiver.url, daemon, token_file)
        jobs = {"worker": worker, "autotuner": daemon, "node": node.address}
        jobs |= {"prometheus": prometheus.address, "alertmanager": alertmanager.address}
        _write_prometheus(folder, jobs)
        for server in (node, alertmanager, prometheus):
            ended.callback(server.stop)
            server.start()
        yield Stack(prometheus, alertmanager, receiver)


def _write_prometheus(folder: Path, jobs: dict[str, str]) -> None:
    """The configuration that ships with these addresses; without DCGM, for want of a GPU."""
    config = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())
    config["global"] = dict.fromkeys(config["global"], QUICK)
    config["scrape_configs"] = [job for job in config["scrape_configs"] if job["job_name"] in jobs]
    for job in config["scrape_configs"]:
        job["scrape_interval"] = QUICK
        [static] = job["static_configs"]
        static["targets"] = [jobs[job["job_name"]]]
        if "labels" in static:
            static["labels"] = {"target": "t"}
    config["alerting"]["alertmanagers"][0]["static_configs"][0]["targets"] = [jobs["alertmanager"]]
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    _write_rules(folder / "rules")


def _write_rules(folder: Path) -> None:
    """The rules that ship, evaluated each second; what they wait for is a second as well."""
    folder.mkdir()
    for path in rule_files():
        page = yaml.safe_load(path.read_text())
        for group in page["groups"]:
            group["interval"] = QUICK
            for rule in group["rules"]:
                if "for" in rule:
                    rule["for"] = QUICK
        (folder / path.name).write_text(yaml.safe_dump(page))


def _write_alertmanager(folder: Path, people: str, daemon: str, token_file: Path) -> None:
    """The configuration that ships with these addresses and without its pauses for grouping."""
    text = (DEPLOY / "alertmanager" / "alertmanager.yml").read_text()
    text = _replaced(text, "http://127.0.0.1:9095/alerts", people)
    text = _replaced(text, "127.0.0.1:9187", daemon)
    text = _replaced(text, "/etc/autotuner/alertmanager.token", str(token_file))
    text = re.sub(r"(group_wait|group_interval): \w+", rf"\1: {QUICK}", text)
    (folder / "alertmanager.yml").write_text(text)


def _replaced(text: str, old: str, new: str) -> str:
    assert text.count(old) == 1, old
    return text.replace(old, new)
