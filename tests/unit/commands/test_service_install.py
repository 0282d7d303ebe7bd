"""`autotuner service`: what is written where, and what is never written over."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from autotuner.commands.service_install import carry_out, consent, service_app
from autotuner.commands.unit_files import (
    UNITS,
    Fate,
    File,
    Layout,
    files,
    is_untouched,
    unit_text,
)
from autotuner.config import load_config
from autotuner.domain.errors import ConfigError


def service(*words: str) -> Result:
    return CliRunner().invoke(service_app, list(words))


def done(*words: str) -> str:
    result = service(*words)
    assert result.exit_code == 0, result.output
    return result.stdout


def paths(folder: Path) -> set[str]:
    return {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}


CREDENTIAL = "etc/autotuner/credentials/admin-token"
CONFIG = "etc/autotuner/autotuner.yaml"
UNIT = "etc/systemd/system/autotuner.service"
ALL = {CREDENTIAL, CONFIG, *(f"etc/systemd/system/{name}" for name in UNITS)}


def test_into_a_folder(tmp_path: Path) -> None:
    told = done("install", "--prefix", str(tmp_path))
    assert paths(tmp_path) == ALL
    assert "systemctl enable --now autotuner.service" in told
    unit = (tmp_path / UNIT).read_text()
    assert "/opt/autotuner" not in unit
    assert "autotuner run --config /etc/autotuner/autotuner.yaml" in unit
    assert stat.S_IMODE((tmp_path / CREDENTIAL).stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / CREDENTIAL).parent.stat().st_mode) == 0o700
    assert len((tmp_path / CREDENTIAL).read_text().strip()) >= 32
    assert load_config(tmp_path / CONFIG).targets[0].mode.value == "advisory"


def test_a_dry_run_writes_nothing(tmp_path: Path) -> None:
    told = done("install", "--prefix", str(tmp_path), "--dry-run")
    assert told.count("would be written") == len(ALL)
    assert paths(tmp_path) == set()


def test_a_second_time_changes_nothing(tmp_path: Path) -> None:
    done("install", "--prefix", str(tmp_path))
    token = (tmp_path / CREDENTIAL).read_text()
    told = done("install", "--prefix", str(tmp_path))
    assert told.count("unchanged: ") == len(ALL) - 1
    assert "kept: " in told
    assert (tmp_path / CREDENTIAL).read_text() == token


@pytest.mark.parametrize("path", [CONFIG, UNIT])
def test_what_a_person_changed_is_kept_until_forced(tmp_path: Path, path: str) -> None:
    done("install", "--prefix", str(tmp_path))
    token = (tmp_path / CREDENTIAL).read_text()
    with (tmp_path / path).open("a") as file:
        file.write("# mine\n")
    assert f"kept: {tmp_path / path}" in done("install", "--prefix", str(tmp_path))
    assert "# mine" in (tmp_path / path).read_text()
    done("install", "--prefix", str(tmp_path), "--force")
    assert "# mine" not in (tmp_path / path).read_text()
    assert (tmp_path / CREDENTIAL).read_text() == token


def test_an_older_versions_unit_is_written_anew(tmp_path: Path) -> None:
    done("install", "--prefix", str(tmp_path), "--config", "/etc/autotuner/old.yaml")
    assert f"would be written: {tmp_path / UNIT}" in done("install", "--prefix", str(tmp_path))
    assert "old.yaml" not in (tmp_path / UNIT).read_text()


def test_the_account_and_the_configuration_can_be_chosen(tmp_path: Path) -> None:
    done("install", "--prefix", str(tmp_path), "--user", "tuner", "--config", "/srv/tuner.yaml")
    unit = (tmp_path / UNIT).read_text()
    assert "User=tuner\n" in unit
    assert "DynamicUser" not in unit
    assert "--config /srv/tuner.yaml" in unit
    assert (tmp_path / "srv/tuner.yaml").exists()


def test_uninstall_leaves_configuration_and_secrets(tmp_path: Path) -> None:
    done("install", "--prefix", str(tmp_path))
    with (tmp_path / UNIT).open("a") as file:
        file.write("# mine\n")
    assert f"kept: {tmp_path / UNIT}" in done("uninstall", "--prefix", str(tmp_path))
    done("uninstall", "--prefix", str(tmp_path), "--force")
    assert paths(tmp_path) == {CONFIG, CREDENTIAL}
    assert "not there" in done("uninstall", "--prefix", str(tmp_path))


def test_status_tells_what_is_installed(tmp_path: Path) -> None:
    def states() -> dict[str, str]:
        told = json.loads(done("status", "--prefix", str(tmp_path), "--json"))
        units: dict[str, str] = told["units"]
        return units

    assert set(states().values()) == {"not installed"}
    done("install", "--prefix", str(tmp_path), "--user", "tuner")
    assert states() == dict.fromkeys(UNITS, "installed")
    text = (tmp_path / UNIT).read_text().partition("\n")[2].replace("RestartSec=15", "RestartSec=9")
    (tmp_path / UNIT).write_text(text)
    assert states()[UNITS[0]] == "installed, changed by hand"


def plan_in(folder: Path) -> list[tuple[File, Fate]]:
    layout = Layout(Path("/usr/bin/autotuner"), prefix=folder)
    return [(file, file.fate(force=False)) for file in files(layout)]


def test_this_machine_is_changed_only_after_a_yes(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--yes: needed"):
        carry_out(plan_in(tmp_path), consent(Path("/"), [], yes=False, terminal=False))
    assert paths(tmp_path) == set()
    carry_out(plan_in(tmp_path), consent(Path("/"), [], yes=True, terminal=False))
    assert paths(tmp_path) == ALL
    # A second time there is nothing to ask about.
    carry_out(plan_in(tmp_path), consent(Path("/"), [], yes=False, terminal=False))


@pytest.mark.parametrize(("answer", "there"), [("n\n", set()), ("\n", set()), ("y\n", ALL)])
def test_a_person_is_shown_what_would_be_written_and_asked(
    tmp_path: Path, answer: str, there: set[str]
) -> None:
    app = typer.Typer()

    @app.command()
    def ask() -> None:
        carry_out(plan_in(tmp_path), consent(Path("/"), ["systemctl x"], yes=False, terminal=True))

    result = CliRunner().invoke(app, [], input=answer)
    shown, _, rest = result.stdout.partition("Write them")
    assert shown.count("would be written: ") == len(ALL)
    assert rest.startswith(" and run systemctl x?")
    assert result.exit_code == (0 if there else 1)
    assert paths(tmp_path) == there


def refused(*words: str) -> str:
    result = service(*words)
    assert isinstance(result.exception, ConfigError), result.output
    return str(result.exception)


def test_refusals_tell_the_fix(tmp_path: Path) -> None:
    assert "begin with /" in refused("install", "--prefix", str(tmp_path), "--config", "a.yaml")
    assert "leave one of them out" in refused("install", "--prefix", str(tmp_path), "--now")
    (tmp_path / "file").write_text("")
    assert "run this as root" in refused("install", "--prefix", str(tmp_path / "file"))


def test_a_unit_is_untouched_only_as_it_was_written() -> None:
    text = unit_text(UNITS[0], Layout(Path("/usr/bin/autotuner")))
    assert is_untouched(text)
    assert not is_untouched(text + "\n")
    assert not is_untouched(text.partition("\n")[2])
    assert not is_untouched("")
