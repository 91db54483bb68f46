"""The processes of an appliance: started with what they share, wired to each other, killed.

Knows how, decides nothing: nsdata.fallback.watch says when.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from nsdata.appliance import child
from nsdata.appliance.channel import Channel, Gone, Message, pair
from nsdata.appliance.log import log_plan, stderr_file
from nsdata.appliance.memory import RingMemory, new_page
from nsdata.appliance.orphan import LOCK
from nsdata.appliance.settings import ApplianceSettings, flat
from nsdata.errors import EngineError
from nsdata.path.status import StatusPage

PORT, WRITER = "port", "writer"
HEARD = 64  # messages of one process before others, and time, have their turn


def worker_name(number: int) -> str:
    """What a worker is called."""
    return f"worker-{number}"


@dataclass(frozen=True, slots=True)
class RulePlan:
    """What a worker compiles. `order`: of the reload that brought it; 0: the start's."""

    order: int
    rules: list[str]
    options: list[str]


@dataclass(slots=True)
class Process:
    """One start of one process. `attempt` is the watch's number of it."""

    name: str
    attempt: int
    popen: subprocess.Popen[bytes]
    pidfd: int
    page: StatusPage
    channel: Channel
    worker: int | None = None  # its number, of a worker
    ready: bool = False
    unprotected: bool = False  # a worker that did not take what holds
    ring: RingMemory | None = None
    plan: RulePlan | None = None  # the rules a worker has
    asked: dict[int, RulePlan] = field(default_factory=dict)  # to have, by order; no answer yet
    told: list[Message] = field(default_factory=list)

    @property
    def pid(self) -> int:
        return self.popen.pid

    def rss(self) -> int:
        """Resident memory in bytes; 0 when it has gone."""
        try:
            with open(f"/proc/{self.pid}/statm", "rb") as file:
                return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        except (OSError, IndexError, ValueError):
            return 0

    def send(self, what: str, descriptors: tuple[int, ...] = (), **members: Any) -> bool:
        """A message; whether it was taken. One that has gone takes none."""
        try:
            return self.channel.send({"what": what, **members}, descriptors)
        except Gone:
            return False

    def messages(self) -> Iterator[Message]:
        """What it has said since. Ends quietly when it has gone: its exit says so."""
        try:
            while (got := self.channel.receive()) is not None:
                message, descriptors = got
                for one in descriptors:
                    os.close(one)
                yield message
        except Gone:
            return

    def close(self) -> None:
        """Let go of what only this start used."""
        self.channel.close()
        os.close(self.pidfd)
        if self.ring is not None:
            self.ring.close()
            self.ring = None


def launch(
    name: str, role: str, attempt: int, plan: dict[str, Any], keep: tuple[int, ...],
    log: dict[str, Any], stderr: IO[bytes],
) -> Process:  # fmt: skip
    """Start a child in this role, with a page and a channel of its own, and the descriptors to
    keep. log: its plan. Raises EngineError when it cannot be started."""
    page_fd, page = new_page(name)
    mine, theirs = pair()
    ends = {"name": name, "page": page_fd, "channel": theirs.fileno(), "log": log}
    try:
        popen = subprocess.Popen(
            child.command(role, {**ends, **plan}), pass_fds=(page_fd, theirs.fileno(), *keep),
            env=child.environment(), stdin=subprocess.DEVNULL, stdout=stderr, stderr=stderr,
            start_new_session=True,  # Ctrl-C is the supervisor's to act upon
        )  # fmt: skip
        pidfd = os.pidfd_open(popen.pid)
    except OSError as error:
        mine.close()
        raise EngineError(f"{name} cannot be started: {error.strerror}") from error
    finally:
        os.close(page_fd)
        theirs.close()
    return Process(name, attempt, popen, pidfd, page, Channel(mine))


class Processes:
    """All of them by name, at most one start of each."""

    def __init__(self, settings: ApplianceSettings, supervisor_page: int) -> None:
        self.settings = settings
        self.supervisor_page = supervisor_page
        self.log = log_plan(settings.log, settings.directory)
        self.stderr = stderr_file(self.log, settings.directory)
        self.rate: float | None = settings.source.rate  # of the source; None: nothing comes
        self.running: dict[str, Process] = {}
        self.protection: dict[str, Any] = {"suspended": False, "disabled": []}
        self.silence_ns = 1_000_000_000
        self.best_effort: tuple[int, float] | None = None  # of a queue: enter_ns, leave_percent
        # that workers are started with
        self.plan = RulePlan(0, list(settings.rules), option_list(settings))

    def names(self) -> list[str]:
        """Who there is to be, in the order to be started."""
        return [WRITER, *(worker_name(i) for i in range(self.settings.workers)), PORT]

    def workers(self) -> list[Process]:
        """The workers that run."""
        return [p for p in self.running.values() if p.worker is not None]

    def start(self, name: str, attempt: int, **more: Any) -> Process:
        """Start it and wire it to those that run. Raises EngineError when it cannot be started."""
        role = "worker" if name.startswith("worker-") else name
        plan = {**self._plan(name), **more}
        process = launch(name, role, attempt, plan, (self.supervisor_page,), self.log, self.stderr)
        if role == "worker":
            process.worker = int(name.removeprefix("worker-"))
            process.plan = self.plan
        self.running[name] = process
        return process

    def _plan(self, name: str) -> dict[str, Any]:
        """What this role is told at its start."""
        settings = self.settings
        if name == WRITER:
            return {"eve": settings.output.eve}
        if name == PORT:
            return {
                "workers": settings.workers,
                "source": {**settings.source_plan(), "rate": self.rate},
                "supervisor": self.supervisor_page, "silence_ns": self.silence_ns,
                "forward": settings.output.forward, "best_effort": self.best_effort,
                "segments": settings.segment_plan(),
                "lock": str(Path(settings.directory) / LOCK),
            }  # fmt: skip
        return {
            "rules": self.plan.rules, "settings": self.plan.options, "inline": settings.inline,
            "offload": settings.offload,
        }  # fmt: skip

    def join(self, process: Process) -> None:
        """It is ready: wire it to those it works with."""
        process.ready = True
        if process.name == WRITER:
            for worker in self.workers():
                if worker.ready:
                    self._to_writer(worker)
        elif process.name == PORT:
            for worker in self.workers():
                if worker.ready:
                    self._to_port(worker)
        else:
            self.protect_one(process)  # before its first frame
            self._to_writer(process)
            self._to_port(process)

    def protect(self, suspended: bool, disabled: list[int]) -> None:
        """What holds from now on, for workers that begin later, too: whether alerts are counted and
        not written, and which rules (sid) are off."""
        self.protection = {"suspended": suspended, "disabled": disabled}
        for worker in self.workers():
            if worker.ready:
                self.protect_one(worker)

    def protect_one(self, worker: Process) -> None:
        """Tell this worker what holds."""
        worker.unprotected = not worker.send("protect", **self.protection)

    def protect_again(self) -> None:
        """Tell those that did not take it."""
        for worker in self.workers():
            if worker.unprotected:
                self.protect_one(worker)

    def _to_writer(self, worker: Process) -> None:
        writer = self.running.get(WRITER)
        if writer is None or not writer.ready:
            return
        out, into = pair()
        with out, into:
            if writer.send("from", (into.fileno(),)):
                worker.send("writer", (out.fileno(),))

    def port_gone(self) -> None:
        """Workers let go of the rings of a port that ended: none is used again."""
        for worker in self.workers():
            if worker.ring is not None:
                worker.ring.close()
                worker.ring = None
                worker.send("unring")

    def _to_port(self, worker: Process) -> None:
        """A ring that was never used, between this worker and the port."""
        port = self.running.get(PORT)
        if port is None or not port.ready or worker.ring is not None:
            return
        ring = self.settings.ring
        worker.ring = RingMemory(worker.name, ring.slots, ring.frames, ring.room)
        both = (worker.ring.frames, worker.ring.answers)
        worker.send("ring", both)
        port.send("attach", both, worker=worker.worker)

    def writer_end(self) -> socket.socket | None:
        """An end of the supervisor's own to the writer, or None while there is none."""
        writer = self.running.get(WRITER)
        if writer is None or not writer.ready:
            return None
        out, into = pair()
        with into:
            if not writer.send("from", (into.fileno(),)):
                out.close()
                return None
        out.setblocking(False)
        return out

    def close(self) -> None:
        """None is started any more."""
        self.stderr.close()

    def gone(self, process: Process) -> tuple[int | None, int | None]:
        """It has ended: (exit code, signal). Nothing of this start is left."""
        status = process.popen.wait()
        process.close()
        if self.running.get(process.name) is process:
            del self.running[process.name]
        return (status, None) if status >= 0 else (None, -status)

    def kill(self, process: Process) -> None:
        """SIGKILL; by its pidfd, so that nobody else is hit."""
        try:
            signal.pidfd_send_signal(process.pidfd, signal.SIGKILL)
        except ProcessLookupError:
            return


def option_list(settings: ApplianceSettings) -> list[str]:
    """The settings of the file as KEY=VALUE."""
    return [f"{key}={_text(value)}" for key, value in flat(settings.settings)]


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return ",".join(map(_text, value))
    return str(value)
