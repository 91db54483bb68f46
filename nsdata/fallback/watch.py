"""The watch over critical processes: heartbeat, process and memory error, and unknown.

Observations and the time go in, `Decision`s come out. The host, each time it wakes:

    1. tells what it saw since: `started`, `ready`, `beat`, `memory`, `exited`, …
    2. calls `tick(now_ns)`; it judges, so it comes after what was seen
    3. carries the decisions out in order and sleeps until `next_due_ns()`

- **Attempts, not pids.** Every `Start` has a number, and what is observed carries the number
  of the start it is of (it stands in the status page). A late exit, a page left over, a pid
  that was given to another process: all have an old number and change nothing.
- **Heartbeat error**: a process that is ready gave no beat for longer than its limit, or one
  that was started is not ready after its grace. It is killed and restarted.
- **Process error**: the crash that uses up the budget (`crashes` within `crash_window_ns`),
  or a kill that has no effect. Until then a crash is an event: the process is restarted, at
  once or after a delay that doubles with each failure in a row. Restarts go on while the
  fault holds, so that there is a way back.
- **Memory error**: more resident memory than the maximum, or killed by the kernel for it.
- **Unknown**: an exception nobody expected, a ledger that does not balance.
- **The watch's own pauses.** Silence counts only while somebody listened. The host looks
  at least every `interval_ns`; of a longer gap between two looks only `stall_ns` count, and
  the rest is added to every deadline. When the supervisor, or the whole machine, was not
  scheduled, nobody is blamed for it; a process that truly hangs is still found, later by at
  most the pause. Beats carry the time at which they were made, so that a process that went
  on beating has its beats seen however late the supervisor is.

Times are nanoseconds of one monotonic clock, durations are `_ns`; "longer" and "past" are
strict, clearing happens at the very end of its time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from nsdata.errors import EngineError
from nsdata.fallback.decisions import Decision, Kill, Note, Standing, Start
from nsdata.fallback.reasons import Reason
from nsdata.fallback.watch_policy import ProcessLimits, WatchPolicy
from nsdata.fallback.watch_process import Phase, Process

LEDGER = "ledger balance"  # who holds *unknown* when the ledger does not balance
MAX_STRAYS = 256  # observations of nobody that are noted, each name and attempt once


@dataclass(slots=True)
class _Unknown:
    """A cause of *unknown*: how often it came, and since when it is quiet (None: it stands)."""

    times: int = 0
    quiet_since: int | None = None


Decisions = tuple[Decision, ...]
"""What every input answers, in the order to carry out; often empty."""

_Due = tuple[int, Callable[[int], None]]


class Watch:
    """Decides about processes; see the module."""

    def __init__(self, policy: WatchPolicy | None = None) -> None:
        self.policy = policy or WatchPolicy()
        self.standing = Standing()
        self._processes: dict[str, Process] = {}
        self._attempts: dict[str, int] = {}  # kept when a process goes: numbers never come again
        self._unknown: dict[str, _Unknown] = {}
        self._strays: set[tuple[str, int]] = set()
        self._excused: deque[tuple[int, int]] = deque()  # nobody listened from … to
        self._now: int | None = None
        self._out: list[Decision] = []

    # who is watched

    def add(self, name: str, now_ns: int, limits: ProcessLimits | None = None) -> Decisions:
        """Start watching `name`: it is to be started. EngineError when it is watched already."""
        self._arrive(now_ns)
        if name in self._processes:
            raise EngineError(f"process {name!r} is watched already; remove it first")
        limits = limits or ProcessLimits()
        self.policy.check(limits)
        self._processes[name] = process = Process(name, limits)
        self._start(process, now_ns, "added")
        return self._take()

    def stop(self, name: str, now_ns: int) -> Decisions:
        """The host stops `name` on purpose: its exit is no crash, its faults go with it."""
        self._arrive(now_ns)
        self._stopping(name, now_ns, "")
        return self._take()

    def restart(self, name: str, now_ns: int, why: str) -> Decisions:
        """The same, but it is started again at once when it has gone (`why`: new settings)."""
        self._arrive(now_ns)
        self._stopping(name, now_ns, why)
        return self._take()

    def stuck(self, name: str, now_ns: int, why: str) -> Decisions:
        """Stopped on purpose, it does not go: a process error, until it has gone, was started
        again and is stable."""
        self._arrive(now_ns)
        self._stopping(name, now_ns, why)
        if process := self._processes.get(name):
            told = {**process.told(), "phase": process.phase.value, "stopped_for": why}
            self._hold(Reason.PROCESS, process, now_ns, told)
        return self._take()

    def forgive(self, now_ns: int) -> Decisions:
        """Everything begins anew: causes of *unknown* are over until they come again."""
        self._arrive(now_ns)
        for where, cause in self._unknown.items():
            told = {"where": where, "times": cause.times, "begun_anew": True}
            self._release(Reason.UNKNOWN, where, now_ns, told)
        self._unknown.clear()
        return self._take()

    def limit(self, name: str, limits: ProcessLimits, now_ns: int) -> Decisions:
        """Other limits from now on, as after a reload of settings."""
        self._arrive(now_ns)
        self.policy.check(limits)
        if process := self._processes.get(name):
            process.limits = limits
        else:
            self._stray(name, 0, "limits")
        return self._take()

    # what was seen

    def started(self, name: str, attempt: int, pid: int, now_ns: int) -> Decisions:
        """The host has started it; the grace for getting ready counts from here."""
        self._arrive(now_ns)
        if (process := self._alive(name, attempt, "start")) and process.phase is Phase.STARTING:
            process.pid, process.since_ns = pid, now_ns
        return self._take()

    def not_started(self, name: str, attempt: int, error: str, now_ns: int) -> Decisions:
        """It could not be started (no memory, no such file): counts as a crash."""
        self._arrive(now_ns)
        if process := self._alive(name, attempt, "failed start"):
            self._gone(process, now_ns, {"not_started": error}, False)
        return self._take()

    def ready(self, name: str, attempt: int, now_ns: int) -> Decisions:
        """It is ready to inspect: from here on it has to beat within its limit."""
        self._arrive(now_ns)
        if (process := self._alive(name, attempt, "ready")) and process.phase is Phase.STARTING:
            if process.down_since_ns is not None:
                down = now_ns - process.down_since_ns
                self._note("recovered", process, now_ns, {"downtime_ns": down})
            process.get_ready(now_ns)
        return self._take()

    def beat(self, name: str, attempt: int, beat_ns: int, count: int, now_ns: int) -> Decisions:
        """Its status page: time and number of its last beat. Only a higher number is a beat;
        a time that lies ahead of `now_ns` counts as now."""
        self._arrive(now_ns)
        if process := self._alive(name, attempt, "beat"):
            at = min(beat_ns, now_ns)
            silence = at - process.since_ns - self._excused_between(process.since_ns, at)
            if (odd := process.take_beat(at, count, silence)) is not None:
                self._note("beats ran back", process, now_ns, odd)
        return self._take()

    def memory(self, name: str, attempt: int, rss_bytes: int, now_ns: int) -> Decisions:
        """Its resident memory, or its cgroup's, in bytes."""
        self._arrive(now_ns)
        process = self._alive(name, attempt, "memory")
        if process is None or process.phase not in (Phase.STARTING, Phase.RUNNING):
            return self._take()
        over, cleared = process.take_memory(
            now_ns,
            rss_bytes,
            self.policy.memory_clear_share,
            self.policy.memory_clear_ns,
            self.standing.holds(Reason.MEMORY, name),
        )
        if over:
            self._hold(Reason.MEMORY, process, now_ns, process.memory_evidence(rss_bytes))
            self._kill(process, now_ns, "its memory is past the maximum")
        elif cleared:
            self._release(Reason.MEMORY, name, now_ns, process.memory_evidence(rss_bytes))
        return self._take()

    def exited(
        self,
        name: str,
        attempt: int,
        now_ns: int,
        *,
        code: int | None = None,
        signal: int | None = None,
        out_of_memory: bool = False,
    ) -> Decisions:
        """It has ended, with this exit code or by this signal. `out_of_memory`: the kernel
        killed it for its memory (`oom_kill` of its cgroup rose)."""
        self._arrive(now_ns)
        if process := self._alive(name, attempt, "exit"):
            self._gone(process, now_ns, {"code": code, "signal": signal}, out_of_memory)
        return self._take()

    def unexpected(
        self, where: str, error: str, now_ns: int, evidence: Mapping[str, Any] | None = None
    ) -> Decisions:
        """An exception nobody expected, in the part `where` of the supervisor."""
        self._arrive(now_ns)
        cause = self._unknown.setdefault(where, _Unknown())
        cause.times += 1
        cause.quiet_since = now_ns
        told = {"where": where, "error": error, "times": cause.times, **(evidence or {})}
        self._say(self.standing.hold(now_ns, Reason.UNKNOWN, where, told))
        return self._take()

    def ledger(self, fault: str | None, now_ns: int) -> Decisions:
        """What the check of the ledger said: the LedgerError's text, or None if it balances."""
        self._arrive(now_ns)
        cause = self._unknown.get(LEDGER)
        if fault is None:
            if cause is not None and cause.quiet_since is None:
                cause.quiet_since = now_ns
        elif cause is None or cause.quiet_since is not None:
            self._unknown[LEDGER] = cause = cause or _Unknown()
            cause.times += 1
            cause.quiet_since = None
            told = {"where": LEDGER, "error": fault, "times": cause.times}
            self._say(self.standing.hold(now_ns, Reason.UNKNOWN, LEDGER, told))
        return self._take()

    def restored(self, now_ns: int) -> Decisions:
        """The controller went back to normal: causes that still stand were overridden."""
        self._arrive(now_ns)
        self.standing.override()
        return self._take()

    # time

    def next_due_ns(self) -> int:
        """When to look and `tick` again, at the latest. EngineError before anything was told."""
        if self._now is None:
            raise EngineError("the watch was told nothing yet: add a process first")
        look = self._now + self.policy.interval_ns
        due = self._earliest()
        return look if due is None else min(look, due[0])

    def tick(self, now_ns: int) -> Decisions:
        """Everything due up to now, in order of time; after what was seen has been told."""
        self._arrive(now_ns)
        while (due := self._earliest()) is not None and due[0] <= now_ns:
            due[1](due[0])
        return self._take()

    def status(self) -> dict[str, dict[str, Any]]:
        """Of every process: phase, attempt, pid, beats, memory; JSON-ready."""
        return {name: process.status() for name, process in self._processes.items()}

    # what is due

    def _earliest(self) -> _Due | None:
        """The first thing due; at the same instant faults go before what clears them."""
        dues = ((self._deadline(since, lasts), act) for since, lasts, act in self._timers())
        return min(dues, key=lambda due: due[0], default=None)

    def _timers(self) -> Iterator[tuple[int, int, Callable[[int], None]]]:
        """Everything that time alone brings about: from when, after how long, what."""
        policy = self.policy
        for process in self._processes.values():
            limits, since = process.limits, process.since_ns
            match process.phase:
                case Phase.WAITING:
                    yield since, 0, partial(self._start_again, process)
                case Phase.STARTING:
                    yield since, limits.start_grace_ns + 1, partial(self._silent, process)
                case Phase.RUNNING:
                    yield since, limits.heartbeat_ns + 1, partial(self._silent, process)
                case Phase.KILLED:
                    yield since, policy.kill_grace_ns, partial(self._stays, process)
                case Phase.STOPPING:
                    yield since, policy.stop_grace_ns, partial(self._stays, process)
        for process in self._processes.values():
            if process.phase is not Phase.RUNNING:
                continue
            if process.failures or self.standing.holds(Reason.PROCESS, process.name):
                yield process.up_since_ns, policy.stable_ns, partial(self._stable, process)
            if self.standing.holds(Reason.HEARTBEAT, process.name):
                again = partial(self._beats_again, process)
                yield process.ready_ns, policy.heartbeat_clear_ns, again
        for where, cause in self._unknown.items():
            if cause.quiet_since is not None:
                yield cause.quiet_since, policy.unknown_clear_ns, partial(self._quiet, where)

    def _silent(self, process: Process, at_ns: int) -> None:
        excused = self._excused_between(process.since_ns, at_ns)
        evidence = process.heartbeat_evidence(at_ns, excused)
        self._hold(Reason.HEARTBEAT, process, at_ns, evidence)
        starting = process.phase is Phase.STARTING
        why = "it did not get ready in time" if starting else "it gave no heartbeat"
        self._kill(process, at_ns, why)

    def _stays(self, process: Process, at_ns: int) -> None:
        """It was told to stop, or killed, and is still there."""
        if process.phase is Phase.STOPPING:
            self._kill(process, at_ns, "it did not stop when asked to")
            return
        if not process.leaving:
            evidence = {
                **process.told(),
                "killed": process.why,
                "still_there_after_ns": at_ns - process.killed_ns,
            }
            self._hold(Reason.PROCESS, process, at_ns, evidence)
        process.since_ns = at_ns
        self._say(Kill(at_ns, process.name, process.attempt, "it is still there"))

    def _stable(self, process: Process, at_ns: int) -> None:
        process.failures = 0
        told = {**process.told(), "stable_ns": at_ns - process.up_since_ns}
        self._release(Reason.PROCESS, process.name, at_ns, told)

    def _beats_again(self, process: Process, at_ns: int) -> None:
        told = {**process.told(), "beating_ns": at_ns - process.ready_ns}
        self._release(Reason.HEARTBEAT, process.name, at_ns, told)

    def _quiet(self, where: str, at_ns: int) -> None:
        cause = self._unknown.pop(where)
        assert cause.quiet_since is not None
        told = {"where": where, "times": cause.times, "quiet_ns": at_ns - cause.quiet_since}
        self._release(Reason.UNKNOWN, where, at_ns, told)

    # what becomes of a process

    def _start(self, process: Process, at_ns: int, why: str) -> None:
        attempt = self._attempts.get(process.name, 0) + 1
        self._attempts[process.name] = attempt
        process.begin(attempt, at_ns)
        self._say(Start(at_ns, process.name, attempt, why))

    def _start_again(self, process: Process, at_ns: int) -> None:
        self._start(process, at_ns, process.why)

    def _kill(self, process: Process, at_ns: int, why: str) -> None:
        process.phase, process.since_ns = Phase.KILLED, at_ns
        process.killed_ns, process.why = at_ns, why
        self._say(Kill(at_ns, process.name, process.attempt, why))

    def _stopping(self, name: str, now_ns: int, again: str) -> None:
        process = self._processes.get(name)
        if process is None:
            self._stray(name, 0, "stop")
            return
        process.leaving, process.again = True, again
        if process.phase is Phase.WAITING:
            self._left(process, now_ns, {"code": None, "signal": None})
        elif process.phase is not Phase.KILLED:
            process.phase, process.since_ns = Phase.STOPPING, now_ns

    def _left(self, process: Process, now_ns: int, how: Mapping[str, Any]) -> None:
        """It is gone, as somebody wanted. Started again, it still has to show that it is well."""
        self._note("stopped", process, now_ns, dict(how))
        if process.again:
            process.failures = 0
            self._start(process, now_ns, process.again)
            return
        del self._processes[process.name]
        for reason in (Reason.PROCESS, Reason.MEMORY, Reason.HEARTBEAT):
            told = {**process.told(), "stopped": "taken out on purpose"}
            self._release(reason, process.name, now_ns, told)

    def _gone(
        self, process: Process, now_ns: int, how: Mapping[str, Any], out_of_memory: bool
    ) -> None:
        if process.leaving:
            self._left(process, now_ns, how)
            return
        policy = self.policy
        if process.down_since_ns is None:
            process.down_since_ns = now_ns
        process.failures += 1
        doubled = policy.restart_delay_ns << min(process.failures - 1, 40)
        start_ns = now_ns + min(doubled, policy.restart_delay_max_ns)
        next_start = {"failures_in_a_row": process.failures, "start_at_ns": start_ns}
        if process.phase is Phase.KILLED:
            self._note("killed", process, now_ns, {**how, "killed": process.why, **next_start})
            why = "restart: " + process.why
        elif out_of_memory:
            evidence = {**process.memory_evidence(None), **how, "killed": "by the kernel"}
            self._hold(Reason.MEMORY, process, now_ns, evidence | next_start)
            self._note("crash", process, now_ns, {**how, "out_of_memory": True, **next_start})
            why = "restart: the kernel killed it for its memory"
        else:
            process.crash(now_ns, how, policy.crash_window_ns, policy.crashes)
            budget = {
                "crashes": list(process.crashes),
                "budget": policy.crashes,
                "within_ns": policy.crash_window_ns,
                **next_start,
            }
            self._note("crash", process, now_ns, {**how, **budget})
            if len(process.crashes) >= policy.crashes:
                evidence = {**process.told(), **how, **budget}
                self._hold(Reason.PROCESS, process, now_ns, evidence)
            why = "restart after a crash"
        process.phase, process.since_ns, process.why = Phase.WAITING, start_ns, why

    # the watch's own time

    def _arrive(self, now_ns: int) -> None:
        """Time goes on; a long gap since the last look is nobody's silence."""
        if self._now is not None:
            if now_ns < self._now:
                raise EngineError(f"time ran backwards in the watch: {self._now} → {now_ns}")
            heard = self._now + self.policy.stall_ns
            if now_ns > heard:
                self._excused.append((heard, now_ns))
                told = {"gap_ns": now_ns - self._now, "excused_ns": now_ns - heard}
                self._say(Note(now_ns, "watch stalled", "watch", told))
        self._now = now_ns
        oldest = min((since for since, _, _ in self._timers()), default=now_ns)
        while self._excused and self._excused[0][1] <= oldest:
            self._excused.popleft()

    def _deadline(self, since_ns: int, duration_ns: int) -> int:
        """When so much time will have been listened since then."""
        at = since_ns + duration_ns
        for start, end in self._excused:
            begin = max(start, since_ns)
            if end > begin and at > begin:
                at += end - begin
        return at

    def _excused_between(self, start_ns: int, end_ns: int) -> int:
        pauses = (min(e, end_ns) - max(s, start_ns) for s, e in self._excused)
        return sum(pause for pause in pauses if pause > 0)

    # saying it

    def _alive(self, name: str, attempt: int, what: str) -> Process | None:
        """The process, if this attempt of it is there."""
        process = self._processes.get(name)
        if process and process.attempt == attempt and process.phase is not Phase.WAITING:
            return process
        # the page of one that has gone may be read until its next start clears it
        if process is None or attempt > process.attempt or what not in ("beat", "memory"):
            self._stray(name, attempt, what)
        return None

    def _stray(self, name: str, attempt: int, what: str) -> None:
        """Something was seen of nobody: of an unknown name, an old attempt, one gone already."""
        if (name, attempt) in self._strays or len(self._strays) >= MAX_STRAYS:
            return
        self._strays.add((name, attempt))
        process = self._processes.get(name)
        told = {
            "observed": what,
            "attempt": attempt,
            "present_attempt": process.attempt if process else None,
        }
        assert self._now is not None
        self._say(Note(self._now, "stray observation", name, told))

    def _hold(
        self, reason: Reason, process: Process, at_ns: int, evidence: Mapping[str, Any]
    ) -> None:
        self._say(self.standing.hold(at_ns, reason, process.name, evidence))

    def _release(
        self, reason: Reason, holder: str, at_ns: int, evidence: Mapping[str, Any]
    ) -> None:
        self._say(self.standing.release(at_ns, reason, holder, evidence))

    def _note(self, kind: str, process: Process, at_ns: int, more: Mapping[str, Any]) -> None:
        self._say(Note(at_ns, kind, process.name, {**process.told(), **more}))

    def _say(self, decision: Decision | None) -> None:
        if decision is not None:
            self._out.append(decision)

    def _take(self) -> Decisions:
        out, self._out = tuple(self._out), []
        return out
