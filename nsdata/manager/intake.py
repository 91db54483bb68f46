"""The process that takes reports: agents' listener and the writer, apart from people's.

A thousand appliances keep one interpreter busy; whoever looks at a page is not to wait for them.
`Intake` starts this process, starts it again when it dies or hangs, and says meanwhile why nothing
is stored. They talk over a socket pair, a JSON object a line:

    manager ──► plan, once; its end: store what waits, and end      ──► intake
            ◄── ready | beat: connections refused | failing: why | lost: why | error: why ◄──
"""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from nsdata.errors import EngineError, NsdataError, OutputError
from nsdata.manager.holding import WAIT_S, Held

AGAIN_S = 1.0  # after one that died
HELD_S = 30.0  # for the database, after one that died
STOP_S = 20.0  # to store what waits
BEAT_S = 1.0  # between two signs of life
SILENT_S = 30.0  # without one it hangs, and is killed
COLLECT = 200_000  # objects, until garbage is looked for
STOP = b"stop\n"
log = logging.getLogger(__name__)


class Intake:
    """The manager's side. `ended(error)` is called when it is not to be started again: another
    manager holds the database."""

    def __init__(self, plan: dict[str, Any], inherit: tuple[int, ...]) -> None:
        self.failing = ""  # why nothing can be stored; "": it can
        self.refused = 0  # connections ended because there were too many
        self._refused_before = 0  # by processes that have ended
        self.silent_s = SILENT_S
        self.ended: Callable[[NsdataError], None] = lambda error: None
        self._plan = plan
        self._inherit = inherit
        self._control: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._ready = threading.Event()
        self._fatal: NsdataError | None = None
        self._thread = threading.Thread(target=self._run, name="intake", daemon=True)

    @property
    def pid(self) -> int | None:
        """Of the process, the latest one."""
        return None if self._process is None else self._process.pid

    def start(self) -> None:
        """Begin; `wait` says when it listens."""
        self._thread.start()

    def wait(self) -> None:
        """Until it takes reports. Raises what kept it from that."""
        self._ready.wait()
        if self._fatal is not None:
            raise self._fatal

    def stop(self) -> None:
        """Let it store what waits, and end."""
        with self._lock:
            self._stopping.set()
            if self._control is not None:
                with suppress(OSError):  # it is gone
                    self._control.sendall(STOP)
        if self._thread.ident is not None:
            self._thread.join(STOP_S + 1)
        process = self._process
        if process is not None and process.poll() is None:
            log.error("the process of reports does not end: killed")
            process.kill()
            process.wait()

    def _run(self) -> None:
        while not self._stopping.is_set() and self._fatal is None:
            how = self._once()
            if self._stopping.is_set() or self._fatal is not None:
                break
            if not self._ready.is_set():
                self._fatal = EngineError(f"the process of reports {how} before it was ready")
                break
            self.failing = f"the process that takes reports {how}; it is started again"
            log.error("%s", self.failing)
            self._stopping.wait(AGAIN_S)
        if self._fatal is not None and self._ready.is_set():
            self.ended(self._fatal)
        self._ready.set()

    def _once(self) -> str:
        """A process from its beginning to its end, and how it ended."""
        ours, theirs = socket.socketpair()
        with ours, theirs:
            with self._lock:
                if self._stopping.is_set():
                    return "was not started"
                self._process = process = subprocess.Popen(
                    [sys.executable, "-m", "nsdata.manager.intake", str(theirs.fileno())],
                    pass_fds=(theirs.fileno(), *self._inherit),
                )
                theirs.close()
                self._control = ours
            hung = ""
            try:
                # That of one that was killed may be held until the server has noticed.
                wait_s = HELD_S if self._ready.is_set() else WAIT_S
                ours.sendall(json.dumps({**self._plan, "wait_s": wait_s}).encode() + b"\n")
                with ours.makefile("r", encoding="utf-8") as lines:
                    for line in lines:
                        told = json.loads(line)
                        if "ready" in told:
                            ours.settimeout(self.silent_s)
                        self._hear(told)
            except TimeoutError:
                hung = f"gave no sign of life for {self.silent_s:g} s and "
                process.kill()
            except (OSError, ValueError) as error:
                log.warning("the process of reports: %s", error)
            with self._lock:
                self._control = None
            status = process.wait()
            self._refused_before = self.refused
        ended = f"was killed by signal {-status}" if status < 0 else f"ended with status {status}"
        return hung + ended

    def _hear(self, told: dict[str, str]) -> None:
        if "ready" in told:
            self.failing = ""
            self._ready.set()
        if told.get("beat"):
            self.refused = self._refused_before + int(told["beat"])
        if "failing" in told:
            self.failing = told["failing"]
        if "lost" in told:
            self._fatal = Held(told["lost"])
        if "error" in told:
            if self._ready.is_set():
                log.error("the process of reports: %s", told["error"])  # and it is tried again
            else:
                self._fatal = OutputError(told["error"])


class _Process:
    """The other side."""

    def __init__(self, control: socket.socket) -> None:
        self.control = control
        self.telling = threading.Lock()
        self.loop: asyncio.AbstractEventLoop | None = None
        self.stopping = threading.Event()
        self.stop: Callable[[], None] = lambda: None

    def tell(self, what: str, why: str = "") -> None:
        """To the manager."""
        try:
            with self.telling:
                self.control.sendall(json.dumps({what: why}).encode() + b"\n")
        except OSError:
            os._exit(1)  # it is gone
        if what == "lost":
            os._exit(1)  # not one report more

    def _listen(self, lines: Any) -> None:
        """Until we are to end; at once when the manager is gone: another one may be waiting."""
        if lines.readline() != STOP:
            os._exit(1)
        self.stopping.set()
        if self.loop is not None:
            self.loop.call_soon_threadsafe(self.stop)

    def run(self) -> None:
        """All of it."""
        with self.control.makefile("rb") as lines:
            plan = json.loads(lines.readline())
            threading.Thread(target=self._listen, args=(lines,), daemon=True).start()
            try:
                self._serve(plan)
            except NsdataError as error:
                self.tell("lost" if isinstance(error, Held) else "error", str(error))
                os._exit(1)
            os._exit(0)  # the thread that listens holds the lines

    def _serve(self, plan: dict[str, Any]) -> None:
        from nsdata.manager.api.agents import make_agent_app
        from nsdata.manager.archives import Archives
        from nsdata.manager.ca import Authority
        from nsdata.manager.database import Database
        from nsdata.manager.door import AGENTS, Door
        from nsdata.manager.enrolment import Enrolments
        from nsdata.manager.incoming import Incoming
        from nsdata.manager.ingest import Ingest
        from nsdata.manager.listener import make_server
        from nsdata.manager.settings import ReportLimits

        database = Database(plan["database"], migrate=False)
        database.hold(plan["wait_s"])
        authority = Authority(Path(plan["directory"]) / "ca")
        ingest = Ingest(database, self.tell)
        archives = Archives(Path(plan["directory"]), ReportLimits(*plan["reports"]))
        incoming = Incoming(database, archives)
        door = Door(socket.socket(fileno=plan["socket"]), AGENTS, "agents'")
        server = make_server(
            make_agent_app(ingest, Enrolments(database, authority), incoming),
            Path(plan["certificate"]),
            Path(plan["key"]),
            door,
            ssl_ca_certs=str(authority.certificate_file),
            ssl_cert_reqs=ssl.CERT_REQUIRED,
        )

        def stop() -> None:
            server.should_exit = True

        async def serve() -> None:
            self.loop, self.stop = asyncio.get_running_loop(), stop
            if self.stopping.is_set():
                stop()
            serving = asyncio.create_task(server.serve())
            while not server.started and not serving.done():
                await asyncio.sleep(0.01)
            self.tell("ready")
            while not serving.done():  # told by the loop that serves: when it hangs, nothing is
                self.tell("beat", str(door.refused))
                await asyncio.wait([serving], timeout=BEAT_S)
            await serving

        ingest.start()
        # What reports are made of has no cycles: looking for some after each few hundred objects
        # took a third of the time.
        gc.freeze()
        gc.set_threshold(COLLECT)
        asyncio.run(serve())
        ingest.stop()
        database.close()


def main() -> None:
    """What the manager starts."""
    for number in (signal.SIGINT, signal.SIGTERM):  # they are for the manager, which tells us
        signal.signal(number, signal.SIG_IGN)
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    _Process(socket.socket(fileno=int(sys.argv[1]))).run()


if __name__ == "__main__":
    main()
