"""What the tables are made of: the columns that several of them have, and where all are listed."""

from __future__ import annotations

from sqlalchemy import JSON, Column, ForeignKey, MetaData, Text

from autotuner.history.columns import NAMING, Real

metadata = MetaData(naming_convention=NAMING)


def target_column(*, primary_key: bool = False) -> Column[str]:
    return Column(
        "target", Text, ForeignKey("targets.name"), nullable=False, primary_key=primary_key
    )


def settings_column(name: str, *, nullable: bool = False) -> Column[str]:
    return Column(name, Text, ForeignKey("settings.digest"), nullable=nullable)


def experiment_column(*, primary_key: bool = False) -> Column[str]:
    return Column(
        "experiment_id",
        Text,
        ForeignKey("experiments.id"),
        nullable=not primary_key,
        primary_key=primary_key,
    )


def words(name: str) -> Column[str]:
    return Column(name, Text, nullable=False)


def real(name: str, *, nullable: bool = True) -> Column[float]:
    return Column(name, Real, nullable=nullable)


def json_column(name: str, *, nullable: bool = False) -> Column[object]:
    return Column(name, JSON(none_as_null=True), nullable=nullable)
