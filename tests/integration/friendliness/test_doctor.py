"""`autotuner doctor` where all is well, and where each thing is not."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from autotuner.cli import app
from autotuner.history.store import open_history
from tests.integration.friendliness.serving import PROXIED, SETTINGS, VLLM, WORKER, serving

pytestmark = pytest.mark.process

POLICY = {
    "name": "p",
    "slo": {"ttft_s": 1.0},
    "knobs": {"max_num_seqs": {"levels": [8, 12, 16]}},
    "proposer": {"kind": "hill-climb"},
    "alerts": [
        {"name": "Hot", "series": "temperature_c", "above": 80},
        {"name": "Queue", "series": "running", "above": 80},
    ],
}


PROXY_KNOBS = {
    "max_num_seqs": {"levels": [16, 64], "live": False, "memory": "working"},
    "max_concurrency": {"levels": [8, 64, 4096]},
}


def page(**changed: Any) -> dict[str, Any]:
    return {**WORKER, "/admin/settings": {**SETTINGS, "now": time.time(), **changed}}


class Home:
    """A folder with a configuration; `check` gives doctor's findings by name, and its status."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.policy = dict(POLICY)

    def check(self, url: str, *words: str, **more: Any) -> tuple[dict[str, Any], int]:
        (self.folder / "p.yaml").write_text(yaml.safe_dump(self.policy))
        target = {"name": "a", "url": url, "policy": str(self.folder / "p.yaml")}
        target |= more.pop("target", {})
        config = {
            "history": f"sqlite:///{self.folder / 'h.sqlite3'}",
            "targets": [target],
            "listen": {"port": 0},
            **more,
        }
        path = self.folder / "a.yaml"
        path.write_text(yaml.safe_dump(config))
        done = CliRunner().invoke(app, ["doctor", "-c", str(path), "--json", *words])
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        told = json.loads(done.stdout)
        return {one["check"]: one for one in told["findings"]}, done.exit_code


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def test_all_is_well_and_nothing_was_made(home: Home) -> None:
    with serving(page()) as url:
        found, status = home.check(url)
    assert status == 0, found
    assert "Hot (temperature_c)" in found["rules a"]["told"]
    assert "Queue" not in found["rules a"]["told"]
    assert not (home.folder / "h.sqlite3").exists()


def test_a_target_that_is_down_fails_with_the_fix(home: Home) -> None:
    found, status = home.check("http://127.0.0.1:9")
    assert status == 1
    assert found["target a"]["level"] == "fail"
    assert "start it" in found["target a"]["fix"]
    assert found["target a"]["told"].endswith("/admin/settings: connection refused")
    assert found["metrics a"]["told"].endswith("/metrics: connection refused")


def test_knobs_clock_and_token(home: Home) -> None:
    home.policy["knobs"] = {"max_num_seqs": {"levels": [8, 99]}}
    with serving(page(now=1.0)) as url:
        found, _ = home.check(url)
    assert "refuses [99]" in found["knobs a"]["told"]
    assert found["clock a"]["level"] == "fail"
    with serving(page(), token="x") as url:
        found, _ = home.check(url)
    assert "admin_token_file" in found["target a"]["told"]


def test_history_in_use_and_out_of_reach(home: Home) -> None:
    open_history(f"sqlite:///{home.folder / 'h.sqlite3'}").close()
    with serving(page()) as url:
        found, _ = home.check(url)
        assert "writable, at revision" in found["history"]["told"]
        found, status = home.check(url, history=f"sqlite:///{home.folder / 'no' / 'h.sqlite3'}")
    assert status == 1
    assert "create it" in found["history"]["told"]


def test_receivers_are_tried_only_where_asked(home: Home) -> None:
    with serving({**page(), "/hook": ""}) as url:
        hooks = [{"name": "up", "url": f"{url}/hook"}, {"name": "lost", "url": f"{url}/gone"}]
        found, _ = home.check(url, webhooks=hooks)
        assert "--send-test tries it" in found["receiver lost"]["told"]
        found, status = home.check(url, "--send-test", webhooks=hooks)
    assert "took a test alert" in found["receiver up"]["told"]
    assert "answered 404" in found["receiver lost"]["told"]
    assert status == 1


def test_a_missing_agent_and_a_taken_port(home: Home) -> None:
    home.policy["proposer"] = {"kind": "ppo", "agent": "nobody"}
    with serving(page()) as url:
        port = int(url.rsplit(":", 1)[1])
        found, _ = home.check(url, listen={"port": port})
    assert found["proposer a"]["level"] == "fail"
    assert "give another listen.port" in found["listen"]["fix"]


def test_without_a_configuration_it_says_how_to_make_one(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["doctor", "-c", str(tmp_path / "absent.yaml")])
    assert done.exit_code == 1
    assert "autotuner init" in done.output


def test_a_server_without_the_proxy_fails_with_the_way_to_it(home: Home) -> None:
    with serving(VLLM) as url:
        found, status = home.check(url)
    assert status == 1
    assert found["target a"]["told"].startswith(f"{url} is a plain vLLM server")
    assert f"autotuner init --url {url}" in found["target a"]["fix"]


def test_a_proxy_in_front_of_a_speculating_server(home: Home) -> None:
    home.policy |= {"slo": {"ttft_s": 0.05, "gap_max_s": 0.2}, "knobs": PROXY_KNOBS}
    told = {**PROXIED, "now": time.time()}
    metrics = (
        "proxy:generation_tokens_total 2100\n"
        'proxy:time_to_first_token_seconds_bucket{le="0.1"} 100\n'
        'proxy:time_to_first_token_seconds_bucket{le="+Inf"} 100\n'
        'proxy:inter_token_latency_seconds_bucket{le="+Inf"} 1000\n'
        "vllm:spec_decode_num_drafts_total 900\n"
        "vllm:num_requests_running 1\n"
    )
    with serving({"/admin/settings": told, "/metrics": metrics}) as url:
        found, status = home.check(url)
    assert status == 0, found
    assert "ttft_s ≤ 0.05 s (0 s to 0.1 s)" in found["buckets a"]["told"]
    assert "2.0 tokens on average (speculative decoding)" in found["gaps a"]["told"]
    assert "slo.gap_max_s=0.2" in found["gaps a"]["told"]
