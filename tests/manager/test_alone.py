"""Two managers on one database: the second one says so."""

from pathlib import Path

import pytest

from nsdata.errors import OutputError
from nsdata.manager.service import Service
from nsdata.manager.settings import ManagerSettings


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_the_second_one_is_refused(
    request: pytest.FixtureRequest, tmp_path: Path, kind: str
) -> None:
    url = f"sqlite:///{tmp_path}/m.db"
    if kind == "postgresql":
        url = request.getfixturevalue("postgres_url")
    first, second = (
        Service(ManagerSettings(directory=str(tmp_path / name), database=url)) for name in "ab"
    )
    first.hold()
    with pytest.raises(OutputError, match="another manager runs on this database"):
        second.hold()
    first.close()
    second.close()
    third = Service(ManagerSettings(directory=str(tmp_path / "b"), database=url))
    third.hold()
    with pytest.raises(OutputError, match="another manager runs in this directory"):
        Service(ManagerSettings(directory=str(tmp_path / "b"), database=url)).hold()
    third.close()
