"""The store: what it keeps, and that nothing it goes through stops the appliance."""

import os
import shutil
import sqlite3
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest
from box import QUICK, Box

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


def fell_back_by_hand(path: Path) -> None:
    """A store that says so; the disk is written in the write-ahead log alone."""
    store = Store(path)
    say(store, 1)
    store.counters(7, LedgerSnapshot.empty(), State.FALLBACK, Reason.NO_ERROR)
    store.close()


def test_a_locked_one_stays_where_it_is(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "START_MS", 100)
    fell_back_by_hand(path)
    lock = sqlite3.connect(path, isolation_level=None)
    lock.execute("BEGIN IMMEDIATE")
    store = Store(path)
    assert "locked" in store.error and store.moved is None
    last = store.last()
    assert last is not None and last["state"] == "fallback"
    say(store, 2)
    assert numbers(store) == [2, 1]
    lock.execute("ROLLBACK")
    lock.close()
    assert store.flush() and not store.error and numbers(store) == [2, 1]
    store.close()
    assert sorted(one.name for one in path.parent.iterdir()) == ["appliance.db"]


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a file system")
@pytest.mark.parametrize("crashed", [False, True])
def test_one_on_a_full_disk_stays_where_it_is(tmp_path: Path, crashed: bool) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    before = tmp_path / "before" / "appliance.db"
    before.parent.mkdir()
    store = Store(before)
    say(store, 1)
    store.counters(7, LedgerSnapshot.empty(), State.FALLBACK, Reason.NO_ERROR)
    if not crashed:  # else the rows are in the write-ahead log alone
        store.close()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=400k", "none", disk], check=True)
    try:
        for part in before.parent.iterdir():
            if not part.name.endswith("-shm"):
                shutil.copy(part, disk)
        with open(disk / "fill", "wb", buffering=0) as fill, suppress(OSError):
            while fill.write(bytes(4096)):
                pass
        full = Store(disk / "appliance.db")
        assert full.error and full.moved is None
        last = full.last()
        assert last is not None and last["state"] == "fallback"
        assert full.last() == last
        say(full, 2)
        assert numbers(full) == [2, 1]
        (disk / "fill").unlink()
        assert full.flush() and not full.error and numbers(full) == [2, 1]
        full.close()
        assert [one.name for one in disk.iterdir()] == ["appliance.db"]
    finally:
        subprocess.run(["umount", "-l", disk], check=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a file system")
def test_an_appliance_begins_on_a_full_disk(tmp_path: Path) -> None:
    """Traffic flows, in the state it was put into by hand; and it goes on record afterwards."""
    before = tmp_path / "appliance.db"
    fell_back_by_hand(before)
    box = Box(tmp_path, settings=QUICK)
    box.directory.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "none", box.directory], check=True)
    try:
        shutil.copy(before, box.directory)
        fill = box.directory / "fill"
        with open(fill, "wb", buffering=0) as file, suppress(OSError):
            while file.write(bytes(4096)):
                pass
        box.start(inspects=False)
        told = box.wait(lambda t: t["ledger"]["received"]["packets"] > 100, "traffic flows")
        assert (told["state"], told["reason"]) == ("fallback", "no error")
        assert box.ask("transitions")["transitions"][-1]["sequence"] == 1
        box.wait(lambda t: bool(t["store"]["error"]), "nothing can be stored")
        fill.unlink()
        box.wait(lambda t: not t["store"]["error"], "it can be stored again")
        box.stop()
        assert not list(box.directory.glob("*.corrupt-*"))
        again = Store(box.directory / "appliance.db")
        for kind in ("store failed", "store works again"):
            assert [one["subject"] for one in again.events(kind, 5)] == ["box"]
        again.close()
    finally:
        box.kill()
        subprocess.run(["umount", "-l", box.directory], check=True)
