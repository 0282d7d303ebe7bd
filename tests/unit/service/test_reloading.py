"""What a reload takes over, what it leaves alone, and what it refuses."""

from __future__ import annotations

from typing import Any

import pytest

from autotuner.config import Config, TargetConfig, parse_config
from autotuner.domain.errors import ConfigError
from autotuner.reloading import Changes, Reloader, TargetParts, compared
from autotuner.service import Job
from tests.unit.service.service_fakes import FakeDaemon, FakeService, job


def config(*targets: str, **more: Any) -> Config:
    named = [{"name": name, "url": f"http://{name}"} for name in targets or ("a",)]
    return parse_config({"targets": named, **more})


class Builder:
    """Builds fakes; what a target is made of is its configuration and `secret`."""

    def __init__(self) -> None:
        self.built: list[str] = []
        self.secret = "s"
        self.refused: str | None = None

    def made_of(self, config: Config, target: TargetConfig) -> tuple[object, ...]:
        return target, self.secret

    def of_target(self, config: Config, target: TargetConfig) -> TargetParts:
        if target.name == self.refused:
            raise ConfigError(f"target {target.name}: its policy is no good")
        self.built.append(target.name)
        jobs = (job(f"refit:{target.name}"),)
        return TargetParts(self.made_of(config, target), FakeDaemon(target.name), jobs)  # type: ignore[arg-type]

    def common_jobs(self, config: Config) -> list[Job]:
        return [job("prune")]


class Started:
    """A service that runs `old`, and the file that a reload reads."""

    def __init__(self, old: Config) -> None:
        self.builder = Builder()
        parts = {t.name: self.builder.of_target(old, t) for t in old.targets}
        self.file: Config | ConfigError = old
        self.reloader = Reloader(old, parts, self.builder, self._read)
        self.service = FakeService()
        self.builder.built.clear()

    def _read(self) -> Config:
        if isinstance(self.file, ConfigError):
            raise self.file
        return self.file

    def reload(self, file: Config | ConfigError) -> str:
        self.file = file
        return self.reloader.reload(self.service)  # type: ignore[arg-type]


def test_nothing_differs() -> None:
    started = Started(config("a", "b"))
    before = dict(started.reloader.parts)
    assert started.reload(config("a", "b")) == "configuration reloaded: nothing differs"
    assert started.builder.built == []
    assert started.service.daemons == [one.daemon for one in before.values()]


def test_only_the_target_that_differs_is_built_anew() -> None:
    started = Started(config("a", "b"))
    before = dict(started.reloader.parts)
    changed = config("a", "b").model_dump()
    changed["targets"][1]["mode"] = "paused"
    said = started.reload(parse_config(changed))
    assert said == "configuration reloaded: changed: b"
    assert started.builder.built == ["b"]
    assert started.service.daemons[0] is before["a"].daemon
    assert started.service.daemons[1] is not before["b"].daemon


def test_targets_come_and_go() -> None:
    started = Started(config("a", "b"))
    said = started.reload(config("b", "c"))
    assert said == "configuration reloaded: targets added: c; removed: a"
    assert [daemon.name for daemon in started.service.daemons] == ["b", "c"]
    assert {one.name for one in started.service.jobs} == {"refit:b", "refit:c", "prune"}


def test_a_new_secret_is_a_change() -> None:
    started = Started(config("a"))
    started.builder.secret = "another"
    assert started.reload(config("a")) == "configuration reloaded: changed: a"


def test_new_receivers_reach_daemons_that_stay() -> None:
    started = Started(config("a"))
    heard: list[Config] = []
    started.reloader.followers.append(heard.append)
    hook = {"name": "pager", "url": "http://pager"}
    said = started.reload(config("a", webhooks=[hook], cycle_s=2, log={"level": "debug"}))
    assert said == "configuration reloaded: taken over: cycle_s, webhooks, log"
    assert started.builder.built == []
    [daemon] = started.service.daemons
    assert daemon.watch.receivers == ("pager",)
    assert started.service.cycle_s == 2
    assert heard == [started.reloader.config]


def test_what_needs_a_restart_is_named_and_left() -> None:
    started = Started(config("a", history="sqlite:///a", listen={"port": 1}))
    new = config("a", "b", history="postgresql://u:geheim@db/x", listen={"port": 2})
    said = started.reload(new)
    assert "needs a restart: history, listen.port" in said
    assert "targets added: b" in said
    assert "geheim" not in said
    assert started.reloader.config.history == "sqlite:///a"
    assert started.reloader.config.listen.port == 1
    assert started.reloader.told()["needs_restart"] == ["history", "listen.port"]
    # It is still so after the next reload, and no longer once the file says what is in force.
    assert "history, listen.port" in started.reload(new)
    back = config("a", "b", history="sqlite:///a", listen={"port": 1})
    assert started.reload(back) == "configuration reloaded: nothing differs"


@pytest.mark.parametrize("where", ["file", "target"])
def test_a_bad_file_leaves_all_as_it_was(where: str) -> None:
    started = Started(config("a"))
    before = started.reloader.parts
    if where == "file":
        said = started.reload(ConfigError("cycel_s: unknown key"))
    else:
        started.builder.refused = "c"
        said = started.reload(config("b", "c"))
    assert said.startswith("reload refused, the old configuration runs on: ")
    assert started.service.exchanged == 0
    assert started.reloader.parts is before
    told = started.reloader.told()
    assert told["ok"] is False
    assert told["said"] == said


def test_a_follower_that_fails_does_not_keep_others_from_hearing() -> None:
    started = Started(config("a"))
    heard: list[Config] = []

    def failing(_: Config) -> None:
        raise RuntimeError

    started.reloader.followers += [failing, heard.append]
    assert started.reload(config("b")).startswith("configuration reloaded")
    assert len(heard) == 1


def test_nothing_is_told_before_the_first_reload() -> None:
    assert Started(config("a")).reloader.told() == {}


def test_no_differences_read_as_none() -> None:
    assert compared(config("a"), config("a"), {"a": (1,)}, {"a": (1,)}) == Changes()
