"""What the migrations make is what the code reads, on both databases."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Engine, inspect, text

from autotuner.domain.errors import HistoryError
from autotuner.history import alert_tables
from autotuner.history import tables as core_tables
from autotuner.history.engine import Database, open_engine
from autotuner.history.table_parts import metadata
from autotuner.history.upgrade import check_current, current, downgrade, pending, upgrade


@pytest.fixture
def engine(empty_url: str) -> Iterator[Engine]:
    engine = open_engine(empty_url)
    yield engine
    engine.dispose()


def tables(engine: Engine) -> dict[str, Any]:
    """Everything the database tells of each table, in an order of its own."""
    seen = inspect(engine)

    def of(name: str) -> list[list[str]]:
        parts = (
            [{**column, "type": str(column["type"])} for column in seen.get_columns(name)],
            seen.get_check_constraints(name),
            seen.get_foreign_keys(name),
            seen.get_unique_constraints(name),
            [_index(index) for index in seen.get_indexes(name)],
            [seen.get_pk_constraint(name)],
        )
        return [sorted(str(item) for item in part) for part in parts]

    return {name: of(name) for name in seen.get_table_names() if name != "alembic_version"}


def _index(index: Any) -> dict[str, Any]:
    options = {name: str(value) for name, value in index.get("dialect_options", {}).items()}
    return {**index, "dialect_options": options}


def test_the_migrations_make_the_tables_of_the_code(empty_url: str, engine: Engine) -> None:
    upgrade(empty_url)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []
    migrated = tables(engine)
    downgrade(empty_url)
    with Database(engine).writing() as connection:
        metadata.create_all(connection)
    # Beyond what alembic compares: CHECKs, partial indexes and foreign keys.
    assert migrated == tables(engine)
    assert set(migrated) == set(metadata.tables)
    for known in (alert_tables.alerts, core_tables.experiments):
        assert known.metadata is metadata


def test_upgrading_goes_to_the_end_once(empty_url: str) -> None:
    missing = pending(empty_url)
    assert current(empty_url) is None
    assert missing[0] == "0001"
    assert upgrade(empty_url) == missing
    assert current(empty_url) == missing[-1]
    assert pending(empty_url) == []
    assert upgrade(empty_url) == []
    check_current(empty_url)


def test_upgrading_step_by_step(empty_url: str) -> None:
    for revision in pending(empty_url):
        assert upgrade(empty_url, revision) == [revision]


def test_downgrading_leaves_nothing(empty_url: str, engine: Engine) -> None:
    upgrade(empty_url)
    downgrade(empty_url)
    assert current(empty_url) is None
    assert inspect(engine).get_table_names() == ["alembic_version"]
    assert inspect(engine).get_view_names() == []


def test_a_newer_database_is_refused(url: str) -> None:
    engine = open_engine(url)
    with Database(engine).writing() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    engine.dispose()
    for ask in (upgrade, pending, check_current, downgrade):
        with pytest.raises(HistoryError, match=r"'9999'.*newer version"):
            ask(url)
    assert current(url) == "9999"


def test_a_failed_upgrade_leaves_nothing_behind(empty_url: str, engine: Engine) -> None:
    # A table of the same name stops the upgrade in the middle.
    with Database(engine).writing() as connection:
        connection.execute(text("CREATE TABLE slots (id INTEGER)"))
    with pytest.raises(HistoryError, match="slots"):
        upgrade(empty_url)
    assert inspect(engine).get_table_names() == ["slots"]
    assert current(empty_url) is None
