"""The agent's process: it reports to the manager, and carries out what the manager asks.

    control socket ─► report each second ─┐                       ┌─► journal: begun
    store ─► transitions, events ─────────┼─► POST ─► commands ───┼─► control socket
    journal ─► results of commands ───────┘                       └─► journal: result

It is not critical: when it hangs or dies it is replaced, and the appliance goes on as before. While
the manager cannot be reached reports are kept (the newest minutes); history and results are on disk
and lose nothing.
"""

from __future__ import annotations

import logging
import queue
import random
import ssl
import threading
import time
from collections import deque
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

import httpx
from pydantic import BaseModel

from nsdata.appliance.agent.journal import Journal
from nsdata.appliance.agent.membership import (
    REACHED,
    REFUSED,
    UNREACHABLE,
    Membership,
    file_of,
    make_request,
    problem,
)
from nsdata.appliance.agent.orders import Orders, clock_s
from nsdata.appliance.channel import Message, close_all
from nsdata.appliance.child import BEAT_NS, Child
from nsdata.appliance.control import ask
from nsdata.appliance.protocol import (
    BODY_MOST,
    HISTORY_MOST,
    RENEW_PATH,
    REPORT_S,
    REPORTS_MOST,
    REPORTS_PATH,
    RESULTS_MOST,
    Answer,
    Batch,
    History,
    Report,
)
from nsdata.appliance.store import StoreReader
from nsdata.errors import EngineError, NsdataError

ROOM = BODY_MOST // 8  # bytes of a batch for reports, for history and for results, each
REPORTS_KEPT = 600  # while the manager cannot be reached
TIMEOUT_S = 10.0
RETRY_S, RETRY_MOST_S = 1.0, 30.0
REFUSED_S = 30.0  # after the manager has said that we are not enrolled
TABLES = (("transitions", "transition"), ("events", "event"))
Part = TypeVar("Part", bound=BaseModel)
log = logging.getLogger(__name__)


class Refused(NsdataError):
    """The manager does not take it, and trying again soon is no use."""


class Agent(threading.Thread):
    """The thread that talks. `say(event, why)` goes to the appliance's record."""

    def __init__(self, directory: Path, say: Any) -> None:
        super().__init__(name="agent", daemon=True)
        self.directory = directory
        self.say = say
        self.ending = threading.Event()
        self.boot = uuid4()
        self.sequence = 0
        self.reports: deque[Report] = deque(maxlen=REPORTS_KEPT)
        self.journal = Journal(directory / "manager" / "agent.db")
        self.store = StoreReader(directory / "appliance.db")
        self.orders = Orders(directory, self.journal)
        self.client: httpx.Client | None = None
        self.member: Membership | None = None
        self._file_ns = 0  # of the membership that is used
        self._said = ""  # the last word about the manager
        self._tried_ns = 0  # of the membership that was tried last
        self._retry_s = RETRY_S
        self._post_at = 0.0  # not before (monotonic)
        self._room = ROOM

    # --- the loop ---------------------------------------------------------------------------

    def run(self) -> None:
        """Until it is told to end."""
        self.orders.resume()
        due = time.monotonic()
        while not self.ending.is_set():
            now = time.monotonic()
            if now >= due:
                due = max(due + REPORT_S, now)
                self._observe()
            if self._due(now):
                self._try()
            self.ending.wait(max(0.0, min(due, max(self._post_at, due)) - time.monotonic()))
        if self.client is not None:
            self.client.close()
        self.journal.close()

    def _observe(self) -> None:
        try:
            told = ask(self.directory, {"command": "account"})
            self.sequence += 1
            self.reports.append(Report.model_validate({**told, "sequence": self.sequence}))
        except (NsdataError, ValueError) as error:
            log.warning("no report: %s", error)

    def _due(self, now: float) -> bool:
        """Whether to talk now. Another membership is tried at once: the last one's refusal says
        nothing about it."""
        return now >= self._post_at or self._file() != self._tried_ns

    def _file(self) -> int:
        """When the membership's file was written; 0: there is none."""
        try:
            return file_of(self.directory).stat().st_mtime_ns
        except OSError:
            return 0

    def _try(self) -> None:
        self._tried_ns, before = self._file(), self._tried_ns
        if self._tried_ns != before:
            self._retry_s = RETRY_S
        event = REFUSED
        try:
            more = True
            while more and not self.ending.is_set():
                more = self._exchange()
            self._retry_s, why, event = RETRY_S, "", REACHED
        except Refused as error:
            self._post_at, why = time.monotonic() + REFUSED_S, str(error)
        except (httpx.HTTPError, ssl.SSLError, OSError, ValueError, NsdataError) as error:
            event = UNREACHABLE
            why = f"{type(error).__name__}: {error}"
            # All agents of a manager that comes back are not to come at once.
            self._post_at = time.monotonic() + self._retry_s * random.uniform(0.5, 1.5)
            self._retry_s = min(self._retry_s * 2, RETRY_MOST_S)
        if event != self._said:
            self.say(event, why)
        self._said = event

    # --- one exchange -----------------------------------------------------------------------

    def _connect(self) -> httpx.Client:
        """The client for the membership that holds. Raises NsdataError, OSError."""
        file_ns = self._file()
        if self.client is None or file_ns != self._file_ns:
            self.member = Membership.load(self.directory)
            if self.client is not None:
                self.client.close()
                self.client = None
            if self.member is None:
                raise Refused("the appliance is enrolled nowhere")
            if self._file_ns:  # with another manager nothing is told yet
                self.boot, self.sequence = uuid4(), 0
                self.reports.clear()
                for table, _ in TABLES:
                    self.journal.set_mark(table, 0, 0)
            self._file_ns = file_ns
            self.client = self._client(self.member)
        return self.client

    def _client(self, member: Membership) -> httpx.Client:
        return httpx.Client(
            base_url=member.agents_url, verify=member.context(), trust_env=False, timeout=TIMEOUT_S
        )

    def _exchange(self) -> bool:
        """Say what there is to say, do what is asked; whether there is more to say at once."""
        client = self._connect()
        waiting = self._history()
        history = _fitting(waiting, self._room)
        reports = _fitting(list(self.reports)[:REPORTS_MOST], self._room)
        results = _fitting(self.orders.results(RESULTS_MOST), self._room)
        batch = Batch(boot=self.boot, reports=reports, history=history, results=results)
        asked_s = clock_s()
        answer = client.post(
            REPORTS_PATH,
            content=batch.model_dump_json(),
            headers={"content-type": "application/json"},
        )
        if answer.status_code in (401, 403):
            raise Refused(f"the manager refuses: {problem(answer)}")
        if answer.status_code == 413 and self._lessen(batch):
            return True
        if answer.status_code != 200:
            raise EngineError(f"the manager answers: {problem(answer)}")
        told = Answer.model_validate_json(answer.content)
        while self.reports and self.reports[0].sequence <= told.acked:
            self.reports.popleft()
        self._mark(history)
        self.orders.told(results)
        begun = [self.orders.carry_out(command, asked_s) for command in told.commands]
        if told.renew:
            self._renew(client)
        return (
            any(begun)
            or len(self.reports) > 0
            or (len(history) < len(waiting) or len(history) >= HISTORY_MOST)
        )

    def _lessen(self, batch: Batch) -> bool:
        """After one that was too large: less at a time; what is too large alone is left out."""
        if max(len(batch.reports), len(batch.history), len(batch.results)) > 1:
            self._room //= 2
            return True
        self._room = ROOM
        alone: list[Report | History] = [*batch.reports, *batch.history]
        if not alone:
            return False
        largest = max(alone, key=_size)
        if isinstance(largest, Report):
            what = f"report {largest.sequence}"
            self.reports.popleft()
        else:
            what = f"{largest.kind} {largest.row}"
            self._mark([largest])
        self.say("too large for the manager", f"{what}: {_size(largest):,} bytes, left out")
        return True

    def _mark(self, history: list[History]) -> None:
        """These are told."""
        tables = {kind: table for table, kind in TABLES}
        for row in {row.kind: row for row in history}.values():
            self.journal.set_mark(tables[row.kind], row.row, row.at_ns)

    def _history(self) -> list[History]:
        """Rows of the store that are not told."""
        found: list[History] = []
        for table, kind in TABLES:
            row, at_ns = self.journal.mark(table)
            if row and self.store.at_ns(table, row) != at_ns:
                row = 0  # the store was begun anew; what is told twice is stored once
            read = self.store.transitions if kind == "transition" else self.store.events
            rows = read(row, HISTORY_MOST - len(found))
            found += [
                History.model_validate({"kind": kind, "row": number, "at_ns": at, "told": told})
                for number, at, told in rows
            ]
        return found

    def _renew(self, client: httpx.Client) -> None:
        """Another certificate, before ours runs out."""
        assert self.member is not None
        key, request = make_request(self.member.id)
        answer = client.post(RENEW_PATH, json={"csr": request})
        if answer.status_code != 200:
            raise EngineError(f"the certificate is not renewed: {problem(answer)}")
        self.member.renew(answer.text, key)
        client.close()
        self.client = self._client(self.member)
        self.say("certificate renewed", self.member.id)

    def stop(self, wait_s: float) -> None:
        """End, in so many seconds at most."""
        self.ending.set()
        self.join(wait_s)


def _size(one: BaseModel) -> int:
    return len(one.model_dump_json().encode())


def _fitting(found: list[Part], room: int) -> list[Part]:
    """As many of the first as have so many bytes; one at least."""
    for number, one in enumerate(found):
        room -= _size(one)
        if room < 0:
            return found[: max(1, number)]
    return found


class AgentProcess:
    """The process: its own thread beats, the agent's talks."""

    def __init__(self, child: Child) -> None:
        self.child = child
        self.said: queue.SimpleQueue[tuple[str, str]] = queue.SimpleQueue()
        self.agent: Agent | None = None
        child.on("setup", self._setup)

    def _setup(self, message: Message, descriptors: list[int]) -> None:
        close_all(descriptors)
        self.agent = Agent(Path(message["directory"]), lambda *what: self.said.put(what))
        self.agent.start()

    def loop(self) -> None:
        """Until it is told to stop or the supervisor is gone."""
        child = self.child
        while not (child.stopping or child.orphan):
            child.listen()
            child.page.beat()
            while not self.said.empty():
                event, why = self.said.get()
                child.tell("told", event=event, why=why)
            if self.agent is not None and not self.agent.is_alive():
                raise EngineError("nobody talks to the manager any more")
            child.pause(BEAT_NS)
        if self.agent is not None:
            self.agent.stop(1.0)


def run(child: Child, plan: dict[str, Any]) -> None:
    """Be the agent."""
    logging.getLogger("httpx").setLevel(logging.WARNING)  # else a line for each report
    process = AgentProcess(child)
    child.tell("ready")
    process.loop()
