"""The watch when nobody looked for a while, and in any order of events."""

from __future__ import annotations

import json

from hypothesis import given, settings
from hypothesis import strategies as st
from watched import LIMITS, MS, SECOND, Box, faults, looked, quiet

from nsdata.fallback.decisions import Decision, FaultHeld, Note, Start


@settings(max_examples=200)
@given(
    st.integers(2, 5),
    st.lists(st.tuples(st.integers(20, 400), st.integers(0, 10**5)), min_size=1, max_size=8),
)
def test_a_pause_of_the_whole_machine_blames_nobody(
    processes: int, pauses: list[tuple[int, int]]
) -> None:
    """Everything stands still for up to 100 s, at any time; afterwards all are slow to beat."""
    box = Box(*(f"worker {n}" for n in range(processes)))
    for run_ms, pause_ms in pauses:
        box.run(box.now + run_ms * MS)
        names = set(box.attempt)
        box.hung |= names  # woken first, the supervisor finds old pages
        box.look(box.now + pause_ms * MS)
        box.run(box.now + 100 * MS)
        box.hung -= names
        box.look(box.now)
    assert faults(box.heard) == []


@given(st.integers(0, 10**5), st.integers(0, 480))
def test_a_pause_of_the_supervisor_alone_is_nothing_to_those_that_beat(
    pause_ms: int, before_ms: int
) -> None:
    """Pages carry the time of the beat: what beat while nobody listened did beat."""
    box = Box("a", "b")
    box.hung.add("a")
    box.run(before_ms * MS)
    heard = box.look(before_ms * MS + pause_ms * MS)
    assert not [d for d in heard if isinstance(d, FaultHeld) and d.evidence["process"] == "b"]


@given(
    st.lists(st.integers(101, 5000), max_size=5),
    st.lists(st.integers(1, 99), min_size=30, max_size=30),
)
def test_what_truly_hangs_is_found_whatever_the_pauses(pauses: list[int], gaps: list[int]) -> None:
    """It has its limit of time that was listened to, and not a nanosecond more."""
    watch = quiet()
    now = listened = 0
    for gap in pauses + gaps:
        before, now = listened, now + gap * MS
        listened += min(gap, 100) * MS
        heard = faults(list(watch.tick(now)))
        assert bool(heard) == (before <= 500 * MS < listened)
        if heard:
            assert isinstance(heard[0], FaultHeld)
            assert heard[0].evidence["silence_ns"] == 500 * MS + 1
    assert listened > 500 * MS or not heard


def test_what_was_due_before_the_pause_was_due_then() -> None:
    """Of the pause `stall` counts, and the limit ends within it."""
    watch = quiet()
    assert looked(watch, 0, 450 * MS) == []
    heard = faults(list(watch.tick(10 * SECOND)))
    assert [fault.at_ns for fault in heard] == [500 * MS + 1]


def test_a_stall_is_noted_with_what_was_excused() -> None:
    watch = quiet()
    assert watch.tick(100 * MS) == ()
    (note,) = watch.tick(200 * MS + 1)
    assert isinstance(note, Note) and note.kind == "watch stalled"
    assert note.evidence == {"gap_ns": 100 * MS + 1, "excused_ns": 1}


def test_pauses_are_forgotten_once_they_matter_no_more() -> None:
    box = Box("a")
    for _ in range(1000):
        box.look(box.now + SECOND)
    assert len(box.watch._excused) <= 1


steps = st.lists(
    st.tuples(
        st.sampled_from(["run", "run", "hang", "crash", "bloat", "shrink", "stall", "restore",
                         "stop", "add", "restart", "unexpected", "immortal", "stuck",
                         "forgive"]),
        st.sampled_from(["a", "b", "c"]),
        st.integers(0, 40_000),
    ),
    max_size=30,
)  # fmt: skip


def played(play: list[tuple[str, str, int]]) -> list[Decision]:
    box = Box("a", "b")
    for what, name, ms in play:
        attempt = box.attempt.get(name, 1)
        watch, now = box.watch, box.now
        if what == "run":
            box.run(now + ms * MS // 10)
        elif what == "hang":
            box.hung.add(name)
        elif what == "crash":
            box.take(watch.exited(name, attempt, now, signal=11))
        elif what in ("bloat", "shrink"):
            box.take(watch.memory(name, attempt, 2000 if what == "bloat" else 10, now))
        elif what == "stall":
            box.look(now + ms * MS)
        elif what == "restore":
            box.declared.clear()
            box.take(watch.restored(now))
        elif what == "stop":
            box.take(watch.stop(name, now))
        elif what == "add" and name not in watch.status():
            box.take(watch.add(name, now, LIMITS))
        elif what == "restart":
            box.take(watch.restart(name, now, "asked"))
        elif what == "unexpected":
            box.take(watch.unexpected(name, "x", now))
        elif what == "immortal":
            box.immortal ^= {name}
        elif what == "stuck":
            box.take(watch.stuck(name, now, "asked"))
        elif what == "forgive":
            box.take(watch.forgive(now))
        assert watch.tick(box.now) == () and watch.next_due_ns() > box.now
    return box.heard


@settings(max_examples=200, deadline=None)
@given(steps)
def test_any_order_of_events(play: list[tuple[str, str, int]]) -> None:
    """Same inputs, same bytes; attempts only rise; the rest is held by Box.take."""
    heard = played(play)
    assert json.dumps([d.as_dict() for d in heard]) == json.dumps(
        [d.as_dict() for d in played(play)]
    )
    starts = [(d.name, d.attempt) for d in heard if isinstance(d, Start)]
    for name in ("a", "b", "c"):
        assert [n for who, n in starts if who == name] == list(
            range(1, sum(who == name for who, _ in starts) + 1)
        )
