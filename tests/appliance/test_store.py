"""The store: what it keeps, and that nothing it goes through stops the appliance."""

from pathlib import Path

import pytest

from nsdata.appliance import store as store_module
from nsdata.appliance.store import Store
from nsdata.errors import OutputError
from nsdata.fallback.ledger import LedgerSnapshot
from nsdata.fallback.reasons import Reason, State


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "appliance.db"


def say(store: Store, number: int) -> None:
    store.transition(number, {"sequence": number})


def numbers(store: Store, most: int = 20) -> list[int]:
    return [one["sequence"] for one in store.transitions(most)]


def test_it_outlives_a_restart(path: Path) -> None:
    first = Store(path)
    assert first.last() is None
    say(first, 1)
    say(first, 2)
    first.counters(7, LedgerSnapshot.empty(), State.FALLBACK, Reason.NO_ERROR)
    first.close()
    second = Store(path)
    assert numbers(second) == [2, 1] and numbers(second, 1) == [2]
    last = second.last()
    assert last is not None and (last["state"], last["reason"]) == ("fallback", "no error")
    assert last["ledger"]["received"] == {"packets": 0, "bytes": 0}
    second.close()


def test_a_corrupt_one_is_moved_aside(path: Path) -> None:
    for number in (1, 2):
        path.write_bytes(b"no database" * 1000)
        store = Store(path)
        assert store.moved == path.with_name(f"appliance.db.corrupt-{number}")
        assert store.moved.read_bytes().startswith(b"no database")
        say(store, 1)
        assert numbers(store) == [1]
        store.close()


def test_rows_wait_for_a_store_that_takes_none(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(path)
    say(store, 1)
    other = Store(path)
    with other._engine.connect() as lock:  # somebody else writes, and goes on and on
        lock.exec_driver_sql("BEGIN IMMEDIATE")
        say(store, 2)
        assert "locked" in store.error
        assert numbers(store) == [2, 1]  # told all the same
        monkeypatch.setattr(store_module, "PENDING", 2)
        say(store, 3)
        say(store, 4)
        assert store.lost == 1 and numbers(store) == [4, 3, 1]
        lock.rollback()
    assert store.flush() and not store.error
    assert numbers(store) == [4, 3, 1]
    store.close()
    other.close()


def test_the_oldest_go(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "KEPT", 3)
    store = Store(path)
    for number in range(1, 8):
        say(store, number)
    store.trim()
    assert numbers(store) == [7, 6, 5]
    store.close()


def test_no_directory_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"nowhere.*no store"):
        Store(tmp_path / "nowhere" / "appliance.db")
