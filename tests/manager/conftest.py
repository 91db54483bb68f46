"""A manager for the tests of a module."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from site_ import Site


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A running manager."""
    with Site(tmp_path_factory.mktemp("site")) as found:
        yield found


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Of an appliance."""
    return tmp_path
