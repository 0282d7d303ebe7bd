from __future__ import annotations

import pytest

from autotuner.domain.errors import HistoryError
from autotuner.history.engine import parse_url


@pytest.mark.parametrize(
    ("url", "driver"),
    [
        ("sqlite:///history.sqlite3", "sqlite+pysqlite"),
        ("postgresql://ana@db/history", "postgresql+psycopg"),
        ("postgres://ana@db/history", "postgresql+psycopg"),
        ("postgresql+psycopg://ana@db/history", "postgresql+psycopg"),
    ],
)
def test_the_driver_is_ours(url: str, driver: str) -> None:
    assert parse_url(url).drivername == driver


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("history.sqlite3", "not a database URL: give sqlite:///PATH"),
        ("", "not a database URL"),
        ("sqlite://host:port/x", "not a database URL"),
        ("mysql://ana@db/history", "mysql is not supported: give sqlite:///PATH or postgresql"),
        ("sqlite://", "the history needs a file"),
        ("sqlite:///:memory:", "the history needs a file"),
    ],
)
def test_a_bad_url_is_told_with_the_fix(url: str, told: str) -> None:
    with pytest.raises(HistoryError, match=told):
        parse_url(url)


def test_a_password_is_never_told() -> None:
    with pytest.raises(HistoryError, match="mysql") as caught:
        parse_url("mysql://ana:secret@db/history")
    assert "secret" not in str(caught.value)
