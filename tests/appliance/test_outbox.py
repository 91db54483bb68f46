"""What a target is still to be told: in order, once, whatever store and file go through."""

from pathlib import Path

import pytest

from nsdata.appliance.monitoring.courier import FIRST_WAIT_S, LONGEST_WAIT_S, wait_after
from nsdata.appliance.monitoring.notification import EVENT, HEALTH, TRANSITION, Notification
from nsdata.appliance.monitoring.outbox import ROOM, Outbox
from nsdata.appliance.store import Store, StoreReader
from nsdata.errors import OutputError


def box(tmp_path: Path, *kinds: str, since_ns: int = 100) -> Outbox:
    reader = StoreReader(tmp_path / "appliance.db")
    return Outbox(tmp_path / "told.json", reader, "a", kinds or (TRANSITION,), since_ns)


def told(outbox: Outbox, most: int = 10_000) -> list[int]:
    """Deliver what it has, and what the store has; the times of all."""
    found = []
    outbox.refill()
    while len(found) < most and (one := outbox.next()):
        found.append(one.at_ns)
        outbox.settle(one)
        if not len(outbox):
            outbox.refill()
    return found


def test_what_came_both_ways_is_told_once(tmp_path: Path) -> None:
    store = Store(tmp_path / "appliance.db")
    outbox = box(tmp_path)
    for at_ns in (100, 101, 102):
        store.transition(at_ns, {"n": at_ns})
    outbox.offer(Notification("a", 101, TRANSITION, {"n": 101}))
    outbox.offer(Notification("a", 103, TRANSITION, {"n": 103}))  # not in the store yet
    assert told(outbox) == [100, 101, 102, 103]
    store.transition(103, {"n": 103})
    outbox.offer(Notification("a", 102, TRANSITION, {"n": 102}))
    assert told(outbox) == []


def test_it_goes_on_where_it_was(tmp_path: Path) -> None:
    """Another outbox, of another run: what was not told is, and nothing else."""
    store = Store(tmp_path / "appliance.db")
    for at_ns in range(50, 150, 10):
        store.transition(at_ns, {})
    assert told(box(tmp_path), most=3) == [100, 110, 120]  # what is older is not its concern
    assert told(box(tmp_path, since_ns=1000)) == [130, 140]
    assert told(box(tmp_path, since_ns=1000)) == []


def test_undelivered_before_the_first_delivery(tmp_path: Path) -> None:
    """Nobody was told anything in a run; the next one tells it."""
    store = Store(tmp_path / "appliance.db")
    outbox = box(tmp_path)
    store.transition(120, {})
    outbox.refill()
    assert told(box(tmp_path, since_ns=1000)) == [120]


def test_one_that_is_settled_out_of_order_holds_the_place(tmp_path: Path) -> None:
    store = Store(tmp_path / "appliance.db")
    for at_ns in (100, 101, 102):
        store.transition(at_ns, {})
    outbox = box(tmp_path)
    outbox.refill()
    outbox.settle(Notification("a", 101, TRANSITION, {}))
    assert told(box(tmp_path)) == [100, 102]


def test_more_than_there_is_room_for(tmp_path: Path) -> None:
    store = Store(tmp_path / "appliance.db")
    outbox = box(tmp_path)
    for at_ns in range(100, 100 + 3 * ROOM):
        store.transition(at_ns, {})
        outbox.offer(Notification("a", at_ns, TRANSITION, {}))
    assert len(outbox) == ROOM
    assert told(outbox) == list(range(100, 100 + 3 * ROOM))


def test_another_store_is_begun(tmp_path: Path) -> None:
    """The corrupt one was moved aside: rows are numbered from 1 again."""
    store = Store(tmp_path / "appliance.db")
    outbox = box(tmp_path)
    for at_ns in (100, 101, 102):
        store.transition(at_ns, {})
    assert told(outbox) == [100, 101, 102]
    store.close()
    for part in tmp_path.glob("appliance.db*"):
        part.unlink()
    with pytest.raises(OutputError, match="cannot be read"):
        outbox.refill()
    store = Store(tmp_path / "appliance.db")
    for at_ns in (102, 103, 104, 105, 106):
        store.transition(at_ns, {})
    assert told(outbox) == [103, 104, 105, 106]


def test_kinds_that_are_not_asked_for_are_not_told(tmp_path: Path) -> None:
    store = Store(tmp_path / "appliance.db")
    store.transition(100, {})
    store.event(101, "crash", "worker-0", {})
    store.event(102, "health", "a", {"level": "red"})
    outbox = box(tmp_path, HEALTH)
    outbox.offer(Notification("a", 103, EVENT, {}))
    assert told(outbox) == [102]
    (tmp_path / "told.json").unlink()
    assert told(box(tmp_path, EVENT, TRANSITION)) == [100, 101]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"told": [], "rows": {"transitions": 3}}'])
def test_a_damaged_file_tells_all_of_this_run(tmp_path: Path, text: str) -> None:
    store = Store(tmp_path / "appliance.db")
    for at_ns in (90, 100, 101):
        store.transition(at_ns, {})
    (tmp_path / "told.json").write_text(text)
    assert told(box(tmp_path)) == [100, 101]


def test_a_file_that_cannot_be_written_holds_nothing_up(tmp_path: Path) -> None:
    Store(tmp_path / "appliance.db").transition(100, {})
    (tmp_path / "told.json").mkdir()
    outbox = box(tmp_path)
    assert told(outbox) == [100]
    assert outbox.unsaved >= 1


def test_waits_grow_with_jitter() -> None:
    assert wait_after(1, 0.0) == FIRST_WAIT_S / 2 and wait_after(1, 1.0) == FIRST_WAIT_S
    assert wait_after(4, 1.0) == 8 * FIRST_WAIT_S
    assert wait_after(10**6, 1.0) == LONGEST_WAIT_S
