"""A manager for the tests of a module."""

from collections.abc import Iterator

import postgres
import pytest
from site_ import Site


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A running manager over SQLite."""
    with Site(tmp_path_factory.mktemp("site")) as found:
        yield found


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """A running PostgreSQL server."""
    with postgres.server() as url:
        yield url


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def either_site(request: pytest.FixtureRequest,
                tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:  # fmt: skip
    """A running manager over each database in turn."""
    url = "" if request.param == "sqlite" else request.getfixturevalue("postgres_url")
    with Site(tmp_path_factory.mktemp(request.param), database=url) as found:
        yield found
