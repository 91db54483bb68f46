"""The watch over processes: each rule both ways, to the nanosecond."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from watched import LIMITS, MS, POLICY, SECOND, Box, faults, looked, notes, only, quiet

from nsdata.errors import EngineError, SettingError
from nsdata.fallback.decisions import Decision, FaultCleared, FaultHeld, Kill, Note, Start
from nsdata.fallback.reasons import Reason
from nsdata.fallback.watch import MAX_STRAYS, Watch
from nsdata.fallback.watch_policy import ProcessLimits, WatchPolicy


def test_silence_of_the_limit_is_none_yet_one_nanosecond_more_is() -> None:
    watch = quiet()
    watch.beat("worker 0", 1, 7, 1, 7)
    assert looked(watch, 7, 7 + 500 * MS) == []
    assert watch.next_due_ns() == 7 + 500 * MS + 1
    held, kill = watch.tick(7 + 500 * MS + 1)
    assert isinstance(held, FaultHeld) and held.reason is Reason.HEARTBEAT
    assert held.at_ns == 7 + 500 * MS + 1
    assert held.evidence["silence_ns"] == 500 * MS + 1
    assert held.evidence["limit_ns"] == 500 * MS
    assert (held.evidence["last_beat_ns"], held.evidence["beats"]) == (7, 1)
    assert kill == Kill(held.at_ns, "worker 0", 1, "it gave no heartbeat")
    json.dumps([held.as_dict(), kill.as_dict()])


def test_a_beat_is_a_new_number_not_a_new_look() -> None:
    watch = quiet()
    watch.beat("worker 0", 1, 10, 1, 10)
    heard: list[Decision] = []
    while watch.next_due_ns() <= SECOND:  # the page is read again and again; the number stands
        now = watch.next_due_ns()
        heard += watch.beat("worker 0", 1, now, 1, now)
        heard += watch.tick(now)
        if heard:
            break
    assert heard[0].at_ns == 10 + 500 * MS + 1


def test_beats_from_the_future_count_as_now() -> None:
    watch = quiet()
    watch.beat("worker 0", 1, 10 * SECOND, 1, MS)
    heard = looked(watch, MS, SECOND)
    assert faults(heard)[0].at_ns == MS + 500 * MS + 1


def test_a_number_that_runs_back_is_no_beat_and_is_told_once() -> None:
    watch = quiet()
    watch.beat("worker 0", 1, 10 * MS, 5, 10 * MS)
    (note,) = watch.beat("worker 0", 1, 20 * MS, 4, 20 * MS)
    assert isinstance(note, Note) and note.kind == "beats ran back"
    assert watch.beat("worker 0", 1, 30 * MS, 3, 30 * MS) == ()
    assert faults(looked(watch, 30 * MS, SECOND))[0].at_ns == 510 * MS + 1


def test_near_misses_are_in_the_evidence() -> None:
    watch = quiet()
    at = 0
    for count, gap in enumerate((10, 399, 400, 500), 1):
        looked(watch, at, at + gap * MS)
        at += gap * MS
        watch.beat("worker 0", 1, at, count, at)
    (held, _) = [d for d in looked(watch, at, at + SECOND)][:2]
    assert isinstance(held, FaultHeld)
    assert held.evidence["near_misses"] == {"count": 2, "longest_ns": 500 * MS}
    assert held.evidence["last_silences_ns"] == [n * MS for n in (10, 399, 400, 500)]


def test_heartbeat_clears_when_it_has_beaten_for_the_stated_time() -> None:
    box = Box("worker 0", "port")
    box.run(SECOND)
    box.hung.add("worker 0")
    heard = box.run(2 * SECOND)
    held = only(heard, FaultHeld)
    assert held.at_ns == SECOND + 500 * MS + 1
    restart = only(heard, Start)
    assert restart.at_ns == held.at_ns + POLICY.restart_delay_ns
    assert restart.why == "restart: it gave no heartbeat"
    heard = box.run(restart.at_ns + POLICY.heartbeat_clear_ns - 1)
    assert faults(heard) == []
    cleared = only(box.run(restart.at_ns + POLICY.heartbeat_clear_ns), FaultCleared)
    assert cleared.at_ns == restart.at_ns + POLICY.heartbeat_clear_ns
    assert cleared.reason is Reason.HEARTBEAT


def test_starting_has_a_grace_of_its_own() -> None:
    watch = Watch(POLICY)
    watch.add("worker 0", 0, LIMITS)
    watch.started("worker 0", 1, 100, 5)
    assert looked(watch, 5, 5 + LIMITS.start_grace_ns) == []
    held, kill = watch.tick(5 + LIMITS.start_grace_ns + 1)
    assert isinstance(held, FaultHeld) and held.evidence["phase"] == "starting"
    assert isinstance(kill, Kill) and kill.why == "it did not get ready in time"


def test_a_crash_within_the_budget_is_an_event() -> None:
    box = Box("worker 0")
    box.run(SECOND)
    heard = box.exit("worker 0", signal=11)
    assert notes(heard) == ["crash"] and faults(heard) == []
    assert only(heard, Note).evidence["signal"] == 11
    heard = box.run(SECOND + POLICY.restart_delay_ns)
    start = only(heard, Start)
    assert (start.attempt, start.at_ns) == (2, SECOND + POLICY.restart_delay_ns)
    assert notes(heard) == ["recovered"]
    assert only(heard, Note).evidence["downtime_ns"] == POLICY.restart_delay_ns


def test_the_crash_that_uses_up_the_budget_is_a_fault_and_restarts_go_on() -> None:
    box = Box("worker 0")
    for wanted in ([], [], [Reason.PROCESS]):
        heard = box.exit("worker 0", code=1)
        assert [d.reason for d in faults(heard)] == wanted  # type: ignore[union-attr]
        box.run(box.now + 5 * SECOND)
    held = only(box.heard, FaultHeld)
    assert [c["at_ns"] for c in held.evidence["crashes"]] == [0, 5 * SECOND, 10 * SECOND]
    assert (held.evidence["budget"], held.evidence["within_ns"]) == (3, 60 * SECOND)
    up = [d for d in box.heard if isinstance(d, Start)][-1].at_ns
    assert faults(box.run(up + POLICY.stable_ns - 1)) == []
    cleared = only(box.run(up + POLICY.stable_ns), FaultCleared)
    assert (cleared.reason, cleared.at_ns) == (Reason.PROCESS, up + POLICY.stable_ns)


@pytest.mark.parametrize(("late_ns", "fault"), [(-1, True), (0, False)])
def test_crashes_count_for_the_window_and_no_longer(late_ns: int, fault: bool) -> None:
    box = Box("worker 0")
    box.exit("worker 0", code=1)
    box.run(SECOND)
    box.exit("worker 0", code=1)
    box.run(60 * SECOND + late_ns)
    assert bool(faults(box.exit("worker 0", code=1))) is fault


def test_delays_double_up_to_the_longest_and_begin_anew_when_stable() -> None:
    box = Box("worker 0", policy=WatchPolicy(crashes=100))
    box.dead_on_arrival.add("worker 0")
    box.exit("worker 0", code=1)
    box.run(150 * SECOND)
    starts = [d.at_ns for d in box.heard if isinstance(d, Start)]
    delays = [b - a for a, b in pairwise(starts)]
    assert delays[:9] == [100 * MS << n for n in range(9)]
    assert set(delays[9:]) == {30 * SECOND} and len(delays) > 9
    box.dead_on_arrival.clear()
    up = only(box.run(starts[-1] + 31 * SECOND), Start).at_ns
    box.run(up + POLICY.stable_ns)
    box.exit("worker 0", code=1)
    assert only(box.run(box.now + SECOND), Start).at_ns == up + POLICY.stable_ns + 100 * MS


def test_a_start_that_fails_is_a_crash_and_a_clean_exit_nobody_asked_for_too() -> None:
    watch = Watch(WatchPolicy(crashes=2))
    watch.add("writer", 0)
    (note,) = watch.not_started("writer", 1, "no memory", 0)
    assert isinstance(note, Note) and note.evidence["not_started"] == "no memory"
    (start,) = [d for d in looked(watch, 0, 100 * MS) if isinstance(d, Start)]
    decisions = watch.exited("writer", start.attempt, 100 * MS, code=0)
    assert only(list(decisions), FaultHeld).reason is Reason.PROCESS


def test_memory_past_the_maximum() -> None:
    box = Box("worker 0")
    box.run(SECOND)
    for rss in (500, 899, 900, 1000):
        assert box.take(box.watch.memory("worker 0", 1, rss, box.now)) == []
        box.run(box.now + SECOND)
    heard = box.take(box.watch.memory("worker 0", 1, 1001, box.now))
    held = only(heard, FaultHeld)
    assert held.reason is Reason.MEMORY
    assert [type(d) for d in heard[:2]] == [FaultHeld, Kill]
    assert held.evidence["rss_bytes"] == 1001 and held.evidence["maximum_bytes"] == 1000
    assert held.evidence["near_misses"] == {"count": 2, "highest_bytes": 1000}
    assert [r["rss_bytes"] for r in held.evidence["trend"]] == [500, 899, 900, 1000, 1001]
    assert held.evidence["growth_bytes_per_second"] == 501 // 4


def test_memory_clears_below_the_share_for_the_stated_time() -> None:
    box = Box("worker 0")
    box.take(box.watch.memory("worker 0", 1, 2000, 0))
    box.run(SECOND)

    def reads(rss: int) -> list[Decision]:
        return faults(box.take(box.watch.memory("worker 0", 2, rss, box.now)))

    assert reads(799) == []
    box.run(2 * SECOND)
    assert reads(800) == []  # at the share is not below it: the time begins anew
    box.run(3 * SECOND)
    assert reads(799) == []
    box.run(3 * SECOND + POLICY.memory_clear_ns - 1)
    assert reads(799) == []
    box.run(3 * SECOND + POLICY.memory_clear_ns)
    assert only(reads(799), FaultCleared).reason is Reason.MEMORY


def test_what_another_attempt_read_does_not_clear_memory() -> None:
    box = Box("worker 0")
    box.take(box.watch.memory("worker 0", 1, 2000, 0))
    box.run(SECOND)
    box.take(box.watch.memory("worker 0", 2, 10, box.now))
    box.run(20 * SECOND)
    box.exit("worker 0", signal=11)
    box.run(SECOND + POLICY.memory_clear_ns)
    assert faults(box.take(box.watch.memory("worker 0", 3, 10, box.now))) == []


def test_killed_by_the_kernel_for_its_memory_is_a_memory_error() -> None:
    box = Box("worker 0")
    heard = box.exit("worker 0", signal=9, out_of_memory=True)
    assert only(heard, FaultHeld).reason is Reason.MEMORY
    assert only(box.run(SECOND), Start).why == "restart: the kernel killed it for its memory"


def test_without_a_maximum_no_memory_is_too_much() -> None:
    watch = Watch()
    watch.add("writer", 0, ProcessLimits())
    assert watch.memory("writer", 1, 1 << 50, 0) == ()


def test_a_kill_without_effect_is_a_process_error_and_tried_again() -> None:
    box = Box("worker 0")
    box.immortal.add("worker 0")
    box.hung.add("worker 0")
    box.run(SECOND)
    killed = only(box.heard, Kill)
    heard = box.run(killed.at_ns + 2 * POLICY.kill_grace_ns)
    held = only(heard, FaultHeld)
    assert (held.reason, held.at_ns) == (Reason.PROCESS, killed.at_ns + POLICY.kill_grace_ns)
    assert held.evidence["still_there_after_ns"] == POLICY.kill_grace_ns
    assert [d.at_ns for d in heard if isinstance(d, Kill)] == [
        killed.at_ns + POLICY.kill_grace_ns,
        killed.at_ns + 2 * POLICY.kill_grace_ns,
    ]


def test_a_second_process_adds_a_note_and_the_fault_clears_with_the_last() -> None:
    box = Box("a", "b")
    box.hung |= {"a"}
    box.run(300 * MS)
    box.hung |= {"b"}
    heard = box.run(2 * SECOND)
    assert len(faults(heard)) == 1
    assert "another cause of heartbeat error" in notes(heard)
    heard = box.run(20 * SECOND)
    assert notes(heard).count("a cause of heartbeat error is over") == 1
    ups = [d.at_ns for d in box.heard if isinstance(d, Start) and d.attempt == 2]
    assert only(heard, FaultCleared).at_ns == max(ups) + POLICY.heartbeat_clear_ns


def test_after_a_forced_restore_what_stands_is_overridden_and_what_is_new_is_declared() -> None:
    box = Box("a", "b")
    box.hung |= {"a"}
    box.run(SECOND)
    assert box.watch.restored(box.now) == ()
    box.declared.clear()
    box.hung |= {"b"}
    assert only(box.run(2 * SECOND), FaultHeld).evidence["process"] == "b"
    box.watch.restored(box.now)
    box.declared.clear()
    box.hung |= {"a"}
    assert only(box.run(3 * SECOND), FaultHeld).evidence["process"] == "a"
    assert only(box.run(30 * SECOND), FaultCleared).reason is Reason.HEARTBEAT


def test_unexpected_holds_until_it_was_quiet() -> None:
    watch = quiet()
    heard = watch.unexpected("sensors", "KeyError: 'fan'", 0)
    held = only(list(heard), FaultHeld)
    assert (held.reason, held.evidence["times"]) == (Reason.UNKNOWN, 1)
    box = Box("a")
    box.take(box.watch.unexpected("sensors", "x", 0))
    box.run(30 * SECOND)
    assert box.take(box.watch.unexpected("sensors", "x", box.now)) == []
    assert faults(box.run(90 * SECOND - 1)) == []
    cleared = only(box.run(90 * SECOND), FaultCleared)
    assert cleared.evidence == {"where": "sensors", "times": 2, "quiet_ns": 60 * SECOND}


def test_a_ledger_that_does_not_balance_holds_unknown_until_it_does() -> None:
    box = Box("a")
    assert box.take(box.watch.ledger(None, 0)) == []
    held = only(box.take(box.watch.ledger("received 5 ≠ 4", 0)), FaultHeld)
    assert held.evidence["error"] == "received 5 ≠ 4"
    assert box.take(box.watch.ledger("received 6 ≠ 4", 0)) == []
    assert faults(box.run(100 * SECOND)) == []
    box.take(box.watch.ledger(None, box.now))
    box.run(130 * SECOND)
    box.take(box.watch.ledger("received 7 ≠ 4", box.now))
    box.take(box.watch.ledger(None, box.now))
    assert faults(box.run(190 * SECOND - 1)) == []
    assert only(box.run(190 * SECOND), FaultCleared).reason is Reason.UNKNOWN


def test_strays_change_nothing_and_are_told_once() -> None:
    watch = quiet()
    (note,) = watch.beat("nobody", 1, 0, 1, 0)
    assert isinstance(note, Note) and note.kind == "stray observation"
    assert watch.exited("nobody", 1, 0, code=1) == ()
    before = watch.status()
    assert watch.beat("worker 0", 0, 0, 9, 0) == ()  # a page left over
    (note,) = watch.exited("worker 0", 7, 0, code=1)  # an attempt that never was
    assert isinstance(note, Note) and note.evidence["present_attempt"] == 1
    assert watch.memory("worker 0", 7, 1 << 40, 0) == ()
    assert watch.status() == before
    for n in range(2 * MAX_STRAYS):
        watch.beat(f"nobody {n}", 1, 0, 1, 0)
    assert watch.beat("the last", 1, 0, 1, 0) == ()


def test_a_second_exit_and_the_exit_of_an_old_attempt_count_for_nothing() -> None:
    box = Box("worker 0", policy=WatchPolicy(crashes=2))
    assert notes(box.exit("worker 0", code=1)) == ["crash"]
    assert notes(box.exit("worker 0", code=1)) == ["stray observation"]
    box.run(SECOND)
    late = box.watch.exited("worker 0", 1, box.now, code=1)  # its pid may be another's now
    assert faults(list(late)) == []
    assert box.watch.status()["worker 0"]["phase"] == "running"
    assert len(faults(box.exit("worker 0", code=1))) == 1


def test_stopped_on_purpose_is_no_crash_and_takes_its_faults_along() -> None:
    box = Box("a", "b")
    box.hung.add("a")
    box.run(700 * MS)
    assert box.watch.stop("a", box.now) == ()
    heard = box.exit("a", code=0)
    assert notes(heard) == ["stopped"]
    assert only(heard, FaultCleared).reason is Reason.HEARTBEAT
    assert list(box.watch.status()) == ["b"]
    (start,) = box.watch.add("a", box.now, LIMITS)
    assert isinstance(start, Start) and start.attempt == 3


def test_a_process_that_does_not_stop_is_killed() -> None:
    watch = quiet()
    watch.stop("worker 0", MS)
    assert looked(watch, MS, MS + POLICY.stop_grace_ns - 1) == []
    (kill,) = watch.tick(MS + POLICY.stop_grace_ns)
    assert isinstance(kill, Kill) and kill.why == "it did not stop when asked to"
    heard = looked(watch, MS + POLICY.stop_grace_ns, 60 * SECOND)
    assert faults(heard) == []  # it is no critical process any more
    assert {type(d) for d in heard} == {Kill}
    assert notes(list(watch.exited("worker 0", 1, 60 * SECOND, signal=9))) == ["stopped"]
    assert watch.status() == {}


def test_stopping_what_waits_for_its_restart_is_done_at_once() -> None:
    box = Box("a")
    box.exit("a", code=1)
    assert notes(list(box.watch.stop("a", 0))) == ["stopped"]
    assert box.watch.status() == {}
    assert notes(list(box.watch.stop("a", 0))) == ["stray observation"]
    assert notes(list(box.watch.limit("b", LIMITS, 0))) == ["stray observation"]


def test_restart_on_purpose_starts_at_once_and_is_no_crash() -> None:
    box = Box("a", policy=WatchPolicy(crashes=1))
    box.run(SECOND)
    assert box.watch.restart("a", SECOND, "new settings") == ()
    heard = box.exit("a", code=0)
    assert only(heard, Start) == Start(SECOND, "a", 2, "new settings")
    assert faults(heard) == []


def test_a_restart_does_not_clear_a_fault_by_itself() -> None:
    box = Box("a")
    box.hung.add("a")
    box.run(SECOND)
    box.take(box.watch.restart("a", SECOND, "by hand"))
    assert faults(box.exit("a", code=0)) == []
    assert only(box.run(20 * SECOND), FaultCleared).at_ns == 11 * SECOND


def test_limits_given_anew_hold_from_then_on() -> None:
    watch = quiet()
    assert looked(watch, 0, 400 * MS) == []
    watch.limit("worker 0", ProcessLimits(heartbeat_ns=SECOND), 400 * MS)
    assert faults(looked(watch, 400 * MS, 2 * SECOND))[0].at_ns == SECOND + 1


def test_wrong_use_is_an_error() -> None:
    watch = Watch()
    with pytest.raises(EngineError, match="told nothing"):
        watch.next_due_ns()
    watch.add("a", 5)
    with pytest.raises(EngineError, match="watched already"):
        watch.add("a", 5)
    with pytest.raises(EngineError, match="ran backwards in the watch: 5 → 4"):
        watch.tick(4)
    with pytest.raises(SettingError, match=r"watch\.heartbeat 150ms must be at least twice"):
        watch.add("b", 5, ProcessLimits(heartbeat_ns=150 * MS))


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"stall_ns": 20 * MS}, r"watch\.stall 20ms must be longer than watch\.interval \(20ms\)"),
        ({"crashes": 0}, r"watch\.crashes 0"),
        ({"restart_delay_max_ns": MS}, r"watch\.restart-delay-max 1ms"),
        ({"memory_clear_share": 1.5}, r"watch\.memory-clear-share 1\.5"),
        ({"stable_ns": 0}, r"watch\.stable 0ns must be longer than 0"),
    ],
)
def test_a_policy_that_makes_no_sense_is_refused(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(SettingError, match=said):
        WatchPolicy(**wrong)


@pytest.mark.parametrize("wrong", [{"heartbeat_ns": 0}, {"max_rss_bytes": 0}])
def test_limits_that_make_no_sense_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(SettingError, match=r"watch\."):
        ProcessLimits(**wrong)
