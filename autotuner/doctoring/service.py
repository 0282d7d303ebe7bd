"""Asks all that a configuration names: history, targets, metrics, agents, receivers. I/O."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from urllib.parse import urlsplit

from autotuner.alerts.delivery import DeliveryError, Sender
from autotuner.alerts.payload import webhook_payload
from autotuner.bootstrap import build_proposer, workers_of
from autotuner.config import Config, Policy, TargetConfig, load_policy
from autotuner.couriers import senders
from autotuner.doctoring import judge
from autotuner.doctoring.energy import energy_finding
from autotuner.doctoring.finding import Finding, failed, warned, well
from autotuner.doctoring.machine import free_bytes, port_state
from autotuner.domain.energy import ENERGY_SERIES, known
from autotuner.domain.errors import AutotunerError, ConfigError, HistoryError, TargetError
from autotuner.domain.forecasts import Alert
from autotuner.domain.passwords import hide_passwords
from autotuner.domain.telemetry import Snapshot
from autotuner.history.examination import examine_history, history_folder
from autotuner.metrics.scrape import PrometheusTextSource
from autotuner.resources import resource_folder
from autotuner.sources import metrics_source
from autotuner.targets.capabilities import check_space
from autotuner.targets.worker import WorkerTarget


def history_findings(url: str) -> Iterator[Finding]:
    """The database, and the disk that a SQLite one lies on."""
    try:
        state = examine_history(url)
        yield judge.history(state.there, state.revision, state.pending, hide_passwords(url))
        folder = history_folder(url)
    except HistoryError as problem:
        yield failed("history", str(problem))
        return
    if folder is not None:
        yield judge.disk("of the history", free_bytes(folder))


def target_findings(target: TargetConfig, cycle_s: float) -> Iterator[Finding]:
    """One target's policy, agent, workers, clock and metrics."""
    try:
        policy = load_policy(target.policy, resource_folder("policies"))
    except ConfigError as problem:
        yield failed(f"policy {target.name}", str(problem))
        return
    size = policy.space().size()
    yield well(f"policy {target.name}", f"{policy.name}: {size} settings")
    yield _agent(target, policy)
    yield from _workers(target, policy)
    yield from _metrics(target, policy, cycle_s)


def _agent(target: TargetConfig, policy: Policy) -> Finding:
    check, kind = f"proposer {target.name}", policy.proposer.kind
    try:
        build_proposer(policy)
    except AutotunerError as problem:
        return failed(check, str(problem))
    agent = f" with agent {policy.proposer.agent}" if kind.startswith("ppo") else ""
    return well(check, f"{kind}{agent}")


def _workers(target: TargetConfig, policy: Policy) -> Iterator[Finding]:
    try:
        workers = workers_of(target)
    except ConfigError as problem:
        yield failed(f"target {target.name}", str(problem))
        return
    for url, worker in zip(target.urls, workers, strict=True):
        yield from _worker(target.name, url, worker, policy)
        worker.close()


def _worker(name: str, url: str, worker: WorkerTarget, policy: Policy) -> Iterator[Finding]:
    check = f"target {name}"
    began = time.time()
    try:
        live = worker.read_settings()
        took_s = time.time() - began
        offered = worker.capabilities()
    except TargetError as problem:
        fix = f"start it, or mend targets.{name}.url in the configuration"
        if plain := _plain_server(url):
            told = f"{url} is a plain {plain} server: its settings can't be read or changed"
            fix = f"put `autotuner proxy` in front: autotuner init --url {url} writes its file"
            yield failed(check, told, fix)
        else:
            yield failed(check, _short(problem), "" if "admin_token_file" in str(problem) else fix)
        return
    yield well(check, f"{url}: answers as admin, settings of generation {live.generation}")
    yield judge.clock(name, live.now - (began + took_s / 2), took_s)
    try:
        check_space(policy.space(), offered)
    except ConfigError as problem:
        yield failed(f"knobs {name}", str(problem))
        return
    yield well(f"knobs {name}", f"{len(policy.knobs)} knobs, all levels within what it accepts")


def _plain_server(url: str) -> str | None:
    """The kind of server at `url` where it is one that needs the proxy; else None."""
    source = PrometheusTextSource(url)
    try:
        source.snapshot()
    except TargetError:
        return None
    finally:
        source.close()
    return {"vllm": "vLLM", "sglang": "SGLang"}.get(source.family or "")


def _metrics(target: TargetConfig, policy: Policy, cycle_s: float) -> Iterator[Finding]:
    check = f"metrics {target.name}"
    try:
        source = metrics_source(target)
        snapshot = source.snapshot()
    except AutotunerError as problem:
        yield failed(check, _short(problem), "mend the target's url or metrics: docs/metrics.md")
        return
    told = ENERGY_SERIES if known(snapshot.energy) else ()
    series = {*snapshot.gauges, *snapshot.histograms, *told}
    down = sorted(n.removeprefix("source_up_") for n in series if _is_down(n, snapshot.gauges))
    if down:
        yield warned(check, f"no answer from {', '.join(down)}", "mend them: docs/metrics.md")
    else:
        yield well(check, f"{len(series)} series")
    wanted = {rule.name: rule.series for rule in policy.alerts}
    yield judge.rules(target.name, wanted, series)
    yield energy_finding(target, policy, snapshot.energy, cycle_s)
    yield from _doubts(target.name, snapshot, policy)


def _doubts(name: str, snapshot: Snapshot, policy: Policy) -> Iterator[Finding]:
    """What the server's own figures can't tell of what the policy promises."""
    slo = policy.slo
    promised = {"ttft_s": slo.ttft_s, "tpot_s": slo.tpot_s, "e2el_s": slo.e2el_s}
    by_gaps = [rule.name for rule in policy.alerts if rule.series in ("itl_s", "gap_max_s")]
    if slo.gap_max_s is not None:
        by_gaps.insert(0, f"slo.gap_max_s={slo.gap_max_s:g}")
    told = (judge.buckets(name, snapshot, promised), judge.gaps(name, snapshot, by_gaps))
    yield from (finding for finding in told if finding is not None)


def _is_down(series: str, gauges: Mapping[str, float]) -> bool:
    """Whether the series says that a source beside the server does not answer."""
    return series.startswith("source_up_") and gauges.get(series) == 0


def _short(problem: Exception) -> str:
    """Without the layers of the HTTP library between the address and the cause."""
    text = str(problem)
    cause = _CAUSE.search(text)
    if cause is None or ": HTTP" not in text:
        return text
    return (
        f"{text.split(': HTTP')[0].removesuffix(': no answer')}: {(cause[1] or cause[2]).lower()}"
    )


_CAUSE = re.compile(r"(?:\[Errno -?\d+\] ([\w ]+)|(?<=\W)(timed out))")


def listen_finding(config: Config) -> Finding:
    """Whether the daemon's own HTTP can listen."""
    listen = config.listen
    if listen.port == 0:
        return well("listen", f"{listen.host}, any free port")
    return judge.port(
        f"{listen.host}:{listen.port}", port_state(listen.host, listen.port, tls=listen.tls)
    )


def receiver_findings(config: Config, *, send_test: bool) -> Iterator[Finding]:
    """Whether each receiver of alerts can be reached; a test alert is sent only where asked."""
    try:
        lines = senders(config)
    except ConfigError as problem:
        yield failed("receivers", str(problem))
        return
    if not config.receivers:
        yield warned(
            "receivers", "none: alerts are kept and told to nobody", "add one: docs/alerts.md"
        )
    addresses = {one.name: one.url for one in config.webhooks}
    addresses |= {one.name: one.url for one in config.alertmanagers}
    for name, sender in lines.items():
        if send_test:
            yield _sent(name, sender, config.targets[0].name)
        elif name in addresses:
            yield _connected(name, addresses[name])
        else:
            yield well(f"receiver {name}", "its address can be read; --send-test tries it")


def _connected(name: str, url: str) -> Finding:
    """A connection and no more: the path of a webhook may be its secret, and is never told."""
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
    try:
        with socket.create_connection((host, port), timeout=5):
            return well(f"receiver {name}", f"{host}:{port} can be reached; --send-test tries it")
    except OSError as problem:
        told = problem.strerror or str(problem)
        return failed(
            f"receiver {name}", f"{host}:{port}: {told.lower()}", "mend its url, or start it"
        )


def _sent(name: str, sender: Sender, target: str) -> Finding:
    now = time.time()
    fired = Alert(
        "autotuner-doctor", "AutotunerDoctorTest", "info", target,
        "A test by `autotuner doctor --send-test`; nothing is wrong.", now,
    )  # fmt: skip
    try:
        for alert in (fired, replace(fired, ends_at=time.time())):
            sender.send(webhook_payload([alert], name))
    except DeliveryError as problem:
        return failed(f"receiver {name}", f"the test alert: {problem}", "mend its url or secret")
    return well(f"receiver {name}", "took a test alert and its end")
