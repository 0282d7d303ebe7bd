"""Configuration and policies: what is refused, and how the refusal reads."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from autotuner.config import (
    json_schema,
    load_config,
    load_policy,
    parse_config,
    parse_plan,
    parse_policy,
    read_secret,
)
from autotuner.domain.errors import ConfigError
from autotuner.domain.experiment import Design, Guardrail
from autotuner.domain.knobs import Settings
from autotuner.domain.mode import Mode
from autotuner.resources import resource_folder

POLICIES = resource_folder("policies")


def config(**changes: Any) -> dict[str, Any]:
    return {"targets": [{"name": "a", "url": "http://127.0.0.1:8000"}], **changes}


def policy(**changes: Any) -> dict[str, Any]:
    return {"name": "p", "slo": {"ttft_s": 1.0}, "knobs": {"k": {"levels": [1, 2]}}, **changes}


def alert(**fields: Any) -> dict[str, Any]:
    return policy(alerts=[{"name": "x", "series": "s", **fields}])


def rules(**changes: Any) -> dict[str, Any]:
    return policy(experiment=changes)


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (config(cycel_s=1), "cycel_s: unknown key"),
        (config(cycle_s=0), "cycle_s=0"),
        (config(targets=[]), "targets=[]"),
        ({}, "targets: missing"),
        (config(targets=[{"name": "a b", "url": "http://x"}]), "targets.0.name='a b'"),
        (config(targets=[{"name": "a", "url": "ftp://x"}]), "targets.0.url='ftp://x'"),
        (config(targets=[{"name": "a", "url": "http://x"}] * 2), "share a name"),
        (config(targets=[{"name": "a"}]), "no address: give url, or replicas"),
        (
            config(targets=[{"name": "a", "url": "http://x", "replicas": ["http://y"] * 2}]),
            "either url or replicas, not both",
        ),
        (config(targets=[{"name": "a", "replicas": ["http://x"]}]), "give it as url"),
        (
            config(targets=[{"name": "a", "replicas": ["http://x", "http://x/"]}]),
            "replicas repeat",
        ),
        ([1], "expected keys and values"),
    ],
)
def test_a_bad_configuration_names_field_and_value(data: Any, told: str) -> None:
    with pytest.raises(ConfigError) as error:
        parse_config(data)
    assert told in str(error.value)


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (policy(slo={}), "no target: give at least one"),
        (policy(knobs={"k": {"levels": [2, 1]}}), "levels must rise"),
        (policy(knobs={"k": {"levels": [1, 1]}}), "levels repeat"),
        (policy(knobs={}), "knobs={}"),
        (
            policy(knobs={"k": {"levels": [-1, 512], "memory": "working"}}),
            "needs levels that are numbers from 0 on",
        ),
        (
            policy(knobs={"k": {"levels": ["a", "b"], "memory": "reserved"}}),
            "needs levels that are numbers from 0 on",
        ),
        (policy(experiment={"max_pairs": 6}), "experiment.max_pairs=6"),
        (policy(experiment={"slot_s": 5, "cooldown_s": 5}), "shorten it"),
        (policy(experiment={"washout_min_s": 60}), "is above washout_max_s"),
        (rules(outcome="speed"), "experiment.outcome='speed': 'speed' is no measure"),
        (rules(guardrails=[{"measure": "p99", "margin": 1}]), "guardrails.0.measure='p99'"),
        (rules(guardrails=[{"measure": "e2el", "margin": 0}]), "guardrails.0.margin=0"),
        (rules(guardrails=[{"measure": "quality", "margin": 1}]), "can't be exceeded"),
        (rules(guardrails=[{"measure": "e2el", "margin": 0.1}] * 2), "measures repeat"),
        (
            rules(outcome="e2el", guardrails=[{"measure": "e2el", "margin": 0.1}]),
            "outcome='e2el' is among the guardrails",
        ),
        (rules(outcome="cost"), "needs price_per_hour"),
        (rules(covariates=["weather"]), "experiment.covariates.0='weather'"),
        (rules(covariates=["offered_load"] * 2), "names repeat"),
        (rules(design="crossover"), "experiment.design='crossover'"),
        (rules(fdr="bh"), "experiment.fdr='bh'"),
        (rules(retest=True), "needs drift_factor"),
        (rules(max_temperature_c=0), "experiment.max_temperature_c=0"),
        (policy(alerts=[{"name": "x", "series": "s"}]), "exactly one of above, below"),
        (alert(above=1, times_p99=2), "exactly one of above, below, times_p99, down"),
        (alert(down=1), "alerts.0.down=1"),
        (alert(times_p99=0), "alerts.0.times_p99=0"),
        (alert(above=float("nan")), "alerts.0.above=nan"),
        (alert(above=1, clear=2), "clear=2 must be at most 1"),
        (alert(below=1, clear=0.5), "clear=0.5 must be at least 1"),
        (alert(down=0.1, clear=0.5), "clear goes with above or below, not with down"),
        (alert(above=1, inhibits=["y"]), "inhibits 'y'; give one of x, AnomalyInMetrics"),
        (alert(above=1, inhibits=["TargetDown"]), "inhibits 'TargetDown'"),
        (alert(above=1, inhibits=["x"]), "in a circle: x → x"),
        (policy(alerts=[{"name": "x", "series": "s", "above": 1}] * 2), "two rules share a name"),
    ],
)
def test_a_bad_policy_names_field_and_value(data: Any, told: str) -> None:
    with pytest.raises(ConfigError) as error:
        parse_policy(data)
    assert told in str(error.value)


def test_every_shipped_policy_can_be_used() -> None:
    for path in POLICIES.glob("*.yaml"):
        shipped = load_policy(path.stem, POLICIES)
        assert shipped.space().size() > 1
        assert shipped.experiment.to_domain().alpha == pytest.approx(0.05)


def test_an_unknown_policy_names_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="default"):
        load_policy("defualt", POLICIES)
    (tmp_path / "bad.yaml").write_text("a: [")
    with pytest.raises(ConfigError, match="not valid YAML"):
        load_config(tmp_path / "bad.yaml")
    with pytest.raises(ConfigError, match="can't be read"):
        load_config(tmp_path / "absent.yaml")


def test_a_secret_file_holds_one_line(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("  abc-DEF\n")
    assert read_secret(file, "f") == "abc-DEF"
    assert read_secret(file, "f", for_header=True) == "abc-DEF"
    file.write_text("schlüssel zwei\n")
    assert read_secret(file, "f") == "schlüssel zwei"
    assert read_secret(None, "f") is None


@pytest.mark.parametrize(
    ("content", "for_header", "told"),
    [
        (b"", False, "must hold one line"),
        (b"\n", True, "must hold one line"),
        (b"a\nb", False, "must hold one line"),
        (b"two words", True, "one word of ASCII"),
        ("schlüssel".encode(), True, "one word of ASCII"),
        (b"\xff\xfe", False, "not UTF-8"),
    ],
)
def test_a_file_without_a_usable_secret_is_refused(
    tmp_path: Path, content: bytes, for_header: bool, told: str
) -> None:
    file = tmp_path / "secret"
    file.write_bytes(content)
    with pytest.raises(ConfigError, match=told) as caught:
        read_secret(file, "targets.a.admin_token_file", for_header=for_header)
    assert str(caught.value).startswith("targets.a.admin_token_file=")
    assert "words" not in str(caught.value)


def test_a_secret_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.txt'?: can't be read"):
        read_secret(tmp_path / "none.txt", "f")


def test_a_targets_mode_is_one_of_three() -> None:
    target = {"name": "a", "url": "http://x"}
    assert parse_config({"targets": [target]}).targets[0].mode is Mode.ACTIVE
    advised = parse_config({"targets": [{**target, "mode": "advisory"}]})
    assert advised.targets[0].mode is Mode.ADVISORY
    with pytest.raises(ConfigError, match=r"targets\.0\.mode='off'"):
        parse_config({"targets": [{**target, "mode": "off"}]})


def test_the_schema_knows_every_key() -> None:
    schema = json_schema()
    assert set(schema) == {"config", "policy", "plan"}
    assert "cycle_s" in schema["config"]["properties"]


def test_levels_become_a_space_in_the_policys_order() -> None:
    space = parse_policy(
        policy(knobs={"b": {"levels": [1, 2]}, "a": {"levels": ["x", "y"]}})
    ).space()
    assert space.names == ("b", "a")
    assert space.at((1, 0)) == Settings({"a": "x", "b": 2})


def test_what_a_policy_says_of_tests_becomes_their_plan() -> None:
    said = rules(
        outcome="cost",
        guardrails=[{"measure": "error_share", "margin": 0.02, "prior_sd": 0.01}],
        covariates=["offered_load"],
        price_per_hour=4.5,
        confidence=0.9,
        max_temperature_c=85,
        max_out_of_memory=1,
    )
    plan = parse_policy(said).experiment.to_domain()
    assert plan.outcome == "cost"
    assert plan.guardrails == (Guardrail("error_share", 0.02, 0.01),)
    assert (plan.covariates, plan.price_per_hour) == (("offered_load",), 4.5)
    assert (plan.limits.max_temperature_c, plan.limits.max_out_of_memory) == (85, 1)
    assert plan.alpha == pytest.approx(0.1)
    bare = parse_policy(policy()).experiment.to_domain()
    assert bare.guardrails == ()
    assert math.isnan(bare.price_per_hour)
    assert math.isinf(bare.limits.max_temperature_c)


def test_replicas_are_split_unless_the_policy_says_otherwise() -> None:
    def design(replicas: int, **said: Any) -> Design:
        return parse_policy(rules(**said)).experiment.to_domain(replicas).design

    assert (design(1), design(2)) == (Design.SWITCHBACK, Design.SPLIT)
    assert design(3, design="switchback") is Design.SWITCHBACK
    with pytest.raises(ConfigError, match="needs two replicas"):
        design(1, design="split")
    pair = {"name": "a", "replicas": ["http://x", "http://y"]}
    assert parse_config({"targets": [pair]}).targets[0].urls == ("http://x", "http://y")
    assert parse_config(config()).targets[0].urls == ("http://127.0.0.1:8000",)


def test_the_default_policy_watches_errors_and_what_answers_are_worth() -> None:
    rails = load_policy("default", POLICIES).experiment.to_domain().guardrails
    assert {rail.measure: rail.margin for rail in rails} == {"error_share": 0.02, "quality": 0.05}


def test_an_operators_test_changes_only_what_it_names() -> None:
    plan = parse_plan(
        {
            "target": "a",
            "name": "larger batches",
            "changes": {"k": 2},
            "experiment": {"slot_s": 20, "outcome": "e2el"},
        }
    )
    assert plan.payload() == {"changes": {"k": 2}, "plan": {"slot_s": 20.0, "outcome": "e2el"}}
    own = parse_policy(rules(max_pairs=40, guardrails=[{"measure": "ttft", "margin": 0.1}]))
    merged = own.experiment.with_changes(plan.overrides(), "plan")
    assert (merged.slot_s, merged.outcome, merged.max_pairs) == (20, "e2el", 40)
    assert merged.to_domain().guardrails == (Guardrail("ttft", 0.1),)
    assert parse_plan({"target": "a", "name": "A/A"}).payload() == {"changes": {}, "plan": {}}


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"target": ""}, "target=''"),
        ({"experiment": {"slots": 3}}, "experiment.slots: unknown key"),
        ({"experiment": {"max_pairs": 3}}, "experiment.max_pairs=3"),
        ({"experiment": {"fdr": "none"}}, "experiment.fdr: unknown key"),
        ({"changes": {"k": [1]}}, "changes.k"),
    ],
)
def test_a_bad_plan_names_field_and_value(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError) as error:
        parse_plan({"target": "a", "name": "n", **changes})
    assert told in str(error.value)


def test_what_does_not_fit_the_policy_is_told_when_they_meet() -> None:
    plan = parse_plan({"target": "a", "name": "n", "experiment": {"slot_s": 4}})
    with pytest.raises(ConfigError, match=r"tests\.yaml:\n.*leaves nothing of slot_s=4"):
        parse_policy(policy()).experiment.with_changes(plan.overrides(), "tests.yaml")
