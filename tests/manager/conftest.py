"""A manager for the tests of a module."""

from collections.abc import Iterator
from pathlib import Path

import postgres
import pytest
from site_ import Site
from visitor import Prepared, Visitor, visitor

from nsdata.manager.audit import Role


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A running manager over SQLite."""
    with Site(tmp_path_factory.mktemp("site")) as found:
        yield found


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """A running PostgreSQL server."""
    with postgres.server() as url:
        yield url


@pytest.fixture(scope="module")
def postgres_url(postgres_server: str) -> str:
    """A database of the module's own on it."""
    return postgres.fresh(postgres_server)


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def either_site(request: pytest.FixtureRequest,
                tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:  # fmt: skip
    """A running manager over each database in turn."""
    url = "" if request.param == "sqlite" else request.getfixturevalue("postgres_url")
    with Site(tmp_path_factory.mktemp(request.param), database=url) as found:
        yield found


@pytest.fixture(scope="module")
def operator(site: Site) -> Iterator[Visitor]:
    """Somebody at the pages who may ask for everything that is taken back."""
    with visitor(site, Role.OPERATOR) as one:
        yield one


@pytest.fixture
def prepared(site: Site, tmp_path: Path) -> Iterator[Prepared]:
    """An appliance that has reported once."""
    made = Prepared(site, tmp_path, "edge-7")
    made.send(made.told())
    yield made
    made.client.close()


@pytest.fixture
def access(site: Site, tmp_path: Path) -> tuple[str, ...]:
    """Options that reach the manager as an admin."""
    token = tmp_path / "token"
    token.write_text(site.token(Role.ADMIN) + "\n")
    return ("--manager", site.url, "--token-file", str(token),
            "--ca", str(site.directory / "ca" / "ca.pem"))  # fmt: skip
