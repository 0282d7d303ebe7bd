"""Secrets from credentials, and what is never shown of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from autotuner.config import load_config, read_secret
from autotuner.config.secrets import secret_path, secrets_digest
from autotuner.domain.errors import ConfigError
from autotuner.domain.passwords import hide_passwords


@pytest.mark.parametrize("form", ["$CREDENTIALS_DIRECTORY/key", "${CREDENTIALS_DIRECTORY}/key"])
def test_a_credential_is_found_by_its_name(tmp_path: Path, form: str) -> None:
    found = {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    assert secret_path(Path(form), "x", found) == tmp_path / "key"
    # So systemd names the files of a folder that it loads.
    (tmp_path / "autotuner_key").write_text("a")
    assert secret_path(Path(form), "x", found) == tmp_path / "autotuner_key"


def test_a_credential_without_systemd_is_refused_with_the_fix() -> None:
    with pytest.raises(ConfigError, match=r"token_file=.*LoadCredential=; by hand, set it"):
        secret_path(Path("$CREDENTIALS_DIRECTORY/key"), "token_file", {})


def test_another_path_is_left_alone() -> None:
    assert secret_path(Path("/etc/key"), "x", {}) == Path("/etc/key")


def test_a_secret_is_read_from_a_credential(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "key").write_text("geheim\n")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert read_secret(Path("$CREDENTIALS_DIRECTORY/key"), "x") == "geheim"


def write(folder: Path, text: str) -> Path:
    path = folder / "autotuner.yaml"
    path.write_text("targets: [{name: a, url: http://a}]\n" + text)
    return path


def test_the_history_may_be_a_secret(tmp_path: Path) -> None:
    (tmp_path / "url").write_text("postgresql://me:geheim@db/x\n")
    config = load_config(write(tmp_path, f"history_file: {tmp_path}/url\n"))
    assert config.history == "postgresql://me:geheim@db/x"


def test_two_histories_are_refused_without_showing_a_password(tmp_path: Path) -> None:
    path = write(tmp_path, "history: postgresql://me:geheim@db/x\nhistory_file: /url\n")
    with pytest.raises(ConfigError, match="give it or history, not both") as refused:
        load_config(path)
    assert "geheim" not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("postgresql://me:geheim@db/x", "postgresql://me:***@db/x"),
        ("two: a://b:c@d e://f:g@h.", "two: a://b:***@d e://f:***@h."),
        ("http://:geheim@h", "http://:***@h"),
        ("http://host:8000/path", "http://host:8000/path"),
        ("http://host:8000/a@b", "http://host:8000/a@b"),
        ("postgresql://me:p@ss@db/x", "postgresql://me:***@db/x"),
    ],
)
def test_passwords_in_urls_are_hidden(text: str, shown: str) -> None:
    assert hide_passwords(text) == shown


def test_the_digest_follows_each_secret(tmp_path: Path) -> None:
    key, other = tmp_path / "key", tmp_path / "other"
    settings = {"token_file": key, "more": [{"url_file": other, "path": tmp_path / "no"}]}
    assert secrets_digest({"policy": "x", "token_file": None}) == ""
    none = secrets_digest(settings)
    key.write_text("a")
    one = secrets_digest(settings)
    other.write_text("b")
    two = secrets_digest(settings)
    assert len({none, one, two}) == 3
    assert secrets_digest(settings) == two
