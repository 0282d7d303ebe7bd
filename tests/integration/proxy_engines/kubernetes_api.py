"""A Kubernetes API for tests: one namespace, Deployments with one pod each, over real HTTP.

Answers in the shape of the real API (apps/v1 Deployment, v1 PodList, Status). A pod is a real
process, started with the container's args; a container that ends waits in CrashLoopBackOff.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.integration.proxy_engines.conftest import CHILD

DEPLOYMENTS = "/apis/apps/v1/namespaces/ai/deployments/"
PODS = "/api/v1/namespaces/ai/pods"


@dataclass
class Pod:
    name: str
    app: str
    process: subprocess.Popen[bytes]
    log: Path
    policy: str
    reason: str = "Error"


@dataclass
class Cluster:
    """`deployments` are as the API tells them; `patches` what was asked."""

    folder: Path
    deployments: dict[str, dict[str, Any]] = field(default_factory=dict)
    pods: dict[str, Pod] = field(default_factory=dict)
    patches: list[dict[str, Any]] = field(default_factory=list)
    count: int = 0

    def add(self, name: str, port: int) -> None:
        container = {
            "name": "server", "image": "vllm/vllm-openai",
            "args": ["--port", str(port), "--max-num-seqs=7", "--enable-prefix-caching"],
        }  # fmt: skip
        sidecar = {"name": "logs", "image": "logs"}
        labels = {"app": name}
        template = {"metadata": {"labels": labels}, "spec": {"containers": [container, sidecar]}}
        self.deployments[name] = {
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": name, "namespace": "ai", "generation": 1},
            "spec": {"replicas": 0, "selector": {"matchLabels": labels}, "template": template},
            "status": {},
        }  # fmt: skip

    def patch(self, name: str, change: dict[str, Any]) -> None:
        """A strategic merge, as far as the proxy needs it: containers and env go by name."""
        self.patches.append(change)
        spec = self.deployments[name]["spec"]
        spec["replicas"] = change["spec"].get("replicas", spec["replicas"])
        for told in change["spec"].get("template", {}).get("spec", {}).get("containers", []):
            for one in spec["template"]["spec"]["containers"]:
                if one["name"] == told["name"]:
                    one.update(told)
        self.deployments[name]["metadata"]["generation"] += 1
        self._reconcile(name, fresh="template" in change["spec"])

    def _reconcile(self, name: str, *, fresh: bool) -> None:
        spec = self.deployments[name]["spec"]
        if fresh or not spec["replicas"]:
            self.end(name)
        if spec["replicas"] and name not in self.pods:
            self.count += 1
            container = spec["template"]["spec"]["containers"][0]
            log = self.folder / f"{name}-{self.count}.log"
            with log.open("wb") as out:
                process = subprocess.Popen(
                    [sys.executable, str(CHILD), *container["args"]],
                    stdout=out,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                    env={**os.environ, "CHILD_PIDS": str(self.folder / "pids")},
                )
            policy = container.get("terminationMessagePolicy", "File")
            self.pods[name] = Pod(f"{name}-{self.count}", name, process, log, policy)

    def end(self, name: str) -> None:
        if pod := self.pods.pop(name, None):
            pod.process.send_signal(signal.SIGKILL)
            pod.process.wait()

    def told(self, pod: Pod) -> dict[str, Any]:
        status = pod.process.poll()
        container: dict[str, Any] = {
            "name": "server", "image": "vllm/vllm-openai", "imageID": "", "ready": status is None,
            "restartCount": 0 if status is None else 1, "lastState": {},
            "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}},
        }  # fmt: skip
        if status is not None:
            kept = pod.log.read_text()[-2048:] if "FallbackToLogs" in pod.policy else ""
            ended = {
                "exitCode": status if status >= 0 else 128 - status, "reason": pod.reason,
                "message": kept, "startedAt": "2026-01-01T00:00:00Z",
                "finishedAt": "2026-01-01T00:00:01Z",
            }  # fmt: skip
            container["state"] = {"waiting": {"reason": "CrashLoopBackOff"}}
            container["lastState"] = {"terminated": ended}
        sidecar = {**container, "name": "logs", "state": {"running": {}}, "lastState": {}}
        return {
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {
                "name": pod.name, "namespace": "ai", "uid": f"uid-{pod.name}",
                "labels": {"app": pod.app}, "creationTimestamp": "2026-01-01T00:00:00Z",
            },
            "spec": {"containers": [{"name": "server"}, {"name": "logs"}]},
            "status": {"phase": "Running", "containerStatuses": [container, sidecar]},
        }  # fmt: skip


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    cluster: Cluster

    def log_message(self, *args: object) -> None:
        """Quiet."""

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        asked = parse_qs(url.query)
        if url.path.startswith(DEPLOYMENTS):
            self._deployment(url.path.removeprefix(DEPLOYMENTS))
        elif url.path == PODS:
            wanted = asked["labelSelector"][0].removeprefix("app=")
            pods = [p for p in self.cluster.pods.values() if p.app == wanted]
            items = [self.cluster.told(pod) for pod in pods]
            self._say(200, {"apiVersion": "v1", "kind": "PodList", "metadata": {}, "items": items})
        elif url.path.endswith("/log"):
            name = url.path.split("/")[-2]
            pod = next(p for p in self.cluster.pods.values() if p.name == name)
            assert asked["container"] == ["server"]
            self._send(200, pod.log.read_bytes(), "text/plain")
        else:
            self._missing(url.path)

    def do_PATCH(self) -> None:
        change = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        assert self.headers["Content-Type"] == "application/strategic-merge-patch+json"
        name = urlsplit(self.path).path.removeprefix(DEPLOYMENTS)
        if name in self.cluster.deployments:
            self.cluster.patch(name, change)
        self._deployment(name)

    def _deployment(self, name: str) -> None:
        if name in self.cluster.deployments:
            self._say(200, self.cluster.deployments[name])
        else:
            self._missing(f'deployments.apps "{name}" not found')

    def _missing(self, what: str) -> None:
        status = {
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": what, "reason": "NotFound", "code": 404,
        }  # fmt: skip
        self._say(404, status)

    def _say(self, status: int, data: dict[str, Any]) -> None:
        self._send(status, json.dumps(data).encode(), "application/json")

    def _send(self, status: int, data: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


def serve(cluster: Cluster) -> ThreadingHTTPServer:
    """The API on a free port; `shutdown` ends it."""
    handler = type("Bound", (Handler,), {"cluster": cluster})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server
