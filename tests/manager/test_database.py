"""The tables: what the migrations make is what the program means, there and back, on both."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import postgres
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import inspect, select, text
from sqlalchemy.exc import IntegrityError

from nsdata.errors import OutputError
from nsdata.manager.database import Database, downgrade, migrations, upgrade
from nsdata.manager.tables import ApiToken, Appliance, Base, Latest, User


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """Empty."""
    url = f"sqlite:///{tmp_path}/x.db"
    if request.param == "postgresql":
        url = postgres.fresh(request.getfixturevalue("postgres_server"))
    found = Database(url, migrate=False)
    yield found
    found.close()


def tables(database: Database) -> set[str]:
    return set(inspect(database.engine).get_table_names())


def test_migrations_make_the_tables_of_the_model(database: Database) -> None:
    upgrade(database.engine)
    with database.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []
    assert tables(database) == {*Base.metadata.tables, "alembic_version"}


def test_every_migration_goes_back(database: Database) -> None:
    revisions = [one.revision for one in ScriptDirectory.from_config(migrations()).walk_revisions()]
    upgrade(database.engine)
    for revision in [*revisions[1:], "base"]:
        downgrade(database.engine, revision)
    assert tables(database) == {"alembic_version"}
    upgrade(database.engine)
    assert tables(database) == {*Base.metadata.tables, "alembic_version"}


def test_tokens_get_their_owners(database: Database) -> None:
    upgrade(database.engine, "0001")
    makers = {
        1: "user:anna", 2: "user:gone", 3: "console", 4: "token:1 (a b)", 5: "token:2 (x)",
        6: "token:3 (y)", 7: "token:4 (z)",
    }  # fmt: skip
    with database.engine.begin() as connection:
        connection.execute(
            text("INSERT INTO users VALUES (7, 'anna', 'admin', NULL, :enabled, 1)"),
            {"enabled": True},
        )
        for number, maker in makers.items():
            connection.execute(
                text(
                    "INSERT INTO api_tokens (id, digest, name, role, made_by, made_ns, expires_ns) "
                    "VALUES (:id, :digest, 'n', 'admin', :maker, 1, 2)"
                ),
                {"id": number, "digest": str(number), "maker": maker},
            )
    upgrade(database.engine)
    with database.reading() as session:
        found = {row.id: row for row in session.scalars(select(ApiToken))}
    assert found.keys() == makers.keys()
    assert {number for number, row in found.items() if row.user_id == 7} == {1, 4, 7}
    assert {number for number, row in found.items() if row.revoked_ns} == {2, 5}
    assert found[3].user_id is None and found[6].user_id is None
    with database.writing() as session:
        session.delete(session.get(User, 7))
    with database.reading() as session:
        assert set(session.scalars(select(ApiToken.id))) == {2, 3, 5, 6}, "they go with their user"


def test_rows_go_with_their_appliance(database: Database) -> None:
    upgrade(database.engine)
    with database.writing() as session:
        session.add(Appliance(id="a", name="a", certificate="c", enrolled_ns=1))
        session.flush()
        session.add(Latest(appliance_id="a", report="{}"))
    with database.writing() as session:
        session.delete(session.get(Appliance, "a"))
    with database.reading() as session:
        assert session.get(Latest, "a") is None
    with pytest.raises(IntegrityError), database.writing() as session:
        session.add(Latest(appliance_id="b", report="{}"))


def test_a_writer_that_fails_leaves_nothing(database: Database) -> None:
    upgrade(database.engine)
    with pytest.raises(ZeroDivisionError), database.writing() as session:
        session.add(Appliance(id="a", name="a", certificate="c", enrolled_ns=1))
        session.flush()
        raise ZeroDivisionError
    with database.writing() as session:
        assert session.get(Appliance, "a") is None


def test_a_database_that_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "x.db").write_bytes(b"not a database" * 100)
    with pytest.raises(OutputError, match=r"x\.db: "):
        Database(f"sqlite:///{tmp_path}/x.db")
    with pytest.raises(OutputError) as error:
        Database(f"postgresql+psycopg://u:secret@/x?host={tmp_path}")
    assert "secret" not in str(error.value)
