"""The supervisor's end of support reports: one at a time, in a process of its own.

Nothing here waits for that process. What it says last stands in `status`; one that ends without a
last word has failed, and what it had half written is removed.
"""

from __future__ import annotations

import os
import re
import secrets
import signal
import threading
import time
import uuid
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nsdata.appliance import port, worker, writer
from nsdata.appliance.arguments import flag, path, text
from nsdata.appliance.channel import Message
from nsdata.appliance.processes import PORT, WRITER, Process, launch
from nsdata.appliance.sample import new_sample
from nsdata.errors import EngineError, SettingError
from nsdata.support.address import location
from nsdata.support.archive import half, report_name
from nsdata.support.redact import Redactor
from nsdata.support.url import SUFFIX

if TYPE_CHECKING:
    from nsdata.appliance.supervisor import Supervisor

ROLE = "report"
KEPT = 16  # reports that are known
ID = re.compile(r"[\w.-]{1,64}")
KILL_NS = 5_000_000_000  # after it was asked to stop
RELEASE_NS = 600_000_000_000  # for which what was found out about the latest version holds
ENDED = ("done", "failed", "cancelled")


class Reports:
    """Of one supervisor."""

    def __init__(self, box: Supervisor) -> None:
        self.box = box
        self.known: dict[str, Message] = {}  # by id, the newest last
        self.loaded: dict[str, Message] = {}  # what workers said of their rules
        self._asked = False  # its worker what the block says
        self._process: Process | None = None
        self._number = ""  # of the report that is being made
        self._file = Path()  # that it is to be
        self._sample: int | None = None
        self._stop_ns = 0  # when it is killed
        self._checking: Process | None = None
        self._release: Message = {}
        self._release_ns = 0

    # --- asking -----------------------------------------------------------------------------

    def start(self, message: Message) -> Message:
        """Begin a report; its status. Raises EngineError for a second one while one is made, and
        SettingError or AddressRefused for a place where none may go."""
        number = text(message, "id") or uuid.uuid4().hex
        if not ID.fullmatch(number):
            raise EngineError(f"{number[:80]!r} is no id: 1 to 64 letters, digits, and . _ - are")
        if number in self.known:
            return self.status(number)
        if self._process is not None:
            told = self.known[self._number]
            raise EngineError(
                f"report {told['id']} is being made since {told['since']} by {told['by']}: one at "
                f"a time; wait for it, or cancel it (nsdata appliance report-cancel DIRECTORY)"
            )
        to, out = self._place(message)
        packets = flag(message, "packets")
        at_s = int(time.time())
        stamp = datetime.fromtimestamp(at_s, UTC).strftime("%Y%m%dT%H%M%SZ")
        name = report_name(self.box.settings.name, stamp, secrets.token_hex(4)) + SUFFIX
        by = text(message, "by", "somebody")[:200]
        self.known[number] = {
            "id": number, "state": "starting", "progress": 0.0, "doing": "", "by": by,
            "since": datetime.fromtimestamp(at_s, UTC).isoformat(), "ended": None,
            "to": to and to.partition("?")[0], "packets": packets,
            "error": "", "file_name": name, "location": None, "size": None, "sha256": None,
        }  # fmt: skip
        while len(self.known) > KEPT:
            del self.known[next(iter(self.known))]
        self._number = number
        self._file = Path(out or Path(self.box.settings.support.directory) / name)
        try:
            self._begin(self.known[number], to, out, at_s)
        except (EngineError, OSError) as error:
            self._end("failed", error=str(error))
        return self.status(number)

    def _place(self, message: Message) -> tuple[str | None, str | None]:
        """(URL or "vendor", path of a file); neither: the directory of reports."""
        to, out = text(message, "to"), path(message, "out")
        if to and out:
            raise SettingError("a report goes to a URL or into a file, not both")
        if to == "vendor":
            if self.box.settings.support.vendor.url is None:
                raise SettingError("there is no vendor to send to: support.vendor.url is not set")
        elif to:
            location(to, self.box.settings.support.ways().allowed)
        if out and (not out.is_absolute() or not out.name.endswith(SUFFIX)):
            raise SettingError(f"{out}: an absolute path that ends in {SUFFIX} is needed")
        return (to or None, str(out) if out else None)

    def status(self, number: str = "") -> Message:
        """Of one report; without an id, the newest. Raises EngineError."""
        number = number or next(reversed(self.known), "")
        if number not in self.known:
            raise EngineError(
                f"there is no report {number}" if number else "no report was made since the "
                "appliance was started"
            )  # fmt: skip
        return dict(self.known[number])

    def cancel(self, number: str = "") -> Message:
        """End the one that is being made. Raises EngineError when that is not so."""
        told = self.status(number or self._number)
        if self._process is None or told["id"] != self._number:
            raise EngineError(f"report {told['id']} is not being made: it is {told['state']}")
        signal.pidfd_send_signal(self._process.pidfd, signal.SIGTERM)
        self._stop_ns = self._stop_ns or time.monotonic_ns() + KILL_NS
        return self.status(self._number)

    def vendor(self) -> Message:
        """Whether a report may be sent to the vendor now, and why not. What has to be found out
        first is, meanwhile it is not (`checking`)."""
        if self.box.settings.support.vendor.url is None:
            return {"available": False, "checking": False, "why": "support.vendor.url is not set"}
        now = time.monotonic_ns()
        if self._checking is None and (not self._release or now - self._release_ns > RELEASE_NS):
            self._release_ns = now
            self._checking = self._launch()
            self._order(self._checking, {"to": "check"})
        if not self._release:
            return {"available": False, "checking": True,
                    "why": "which version is the latest is being looked up"}  # fmt: skip
        return {
            "available": self._release["is_latest"], "why": self._release["why"],
            "checking": self._checking is not None, "latest": self._release["latest"],
            "running": self._release["running"],
        }  # fmt: skip

    # --- its process ------------------------------------------------------------------------

    def _begin(self, told: Message, to: str | None, out: str | None, at_s: int) -> None:
        box = self.box
        if box.settings.offload:
            asked = [w.send("describe") for w in box.processes.workers() if w.ready]
            self._asked = any(asked)
        process = self._launch()
        self._process, self._stop_ns = process, 0
        descriptors: tuple[int, ...] = ()
        if told["packets"]:
            self._sample = new_sample()
            descriptors = (self._sample,)
            taker = box.processes.running.get(PORT)
            frames = box.settings.support.packets
            if taker is None or not taker.send("sample", descriptors, frames=frames):
                process.send("sampled")
        self._order(process, {
            "id": told["id"], "by": told["by"], "at_s": at_s, "file_name": told["file_name"],
            "to": to, "out": out,
        }, descriptors)  # fmt: skip
        box.record.note("support report begun", box.settings.name, {
            key: told[key] for key in ("id", "by", "to", "packets")
        })  # fmt: skip

    def _launch(self) -> Process:
        """The process. Raises EngineError."""
        processes = self.box.processes
        return launch(ROLE, ROLE, 1, {}, (), processes.log, processes.stderr)

    def _order(self, process: Process, order: Message, descriptors: tuple[int, ...] = ()) -> None:
        box, file = self.box, self.box.reloading.file
        process.send(
            "make", descriptors, name=box.settings.name, directory=box.settings.directory,
            config=None if file is None else str(Path(file).resolve()),
            support=box.settings.support.model_dump(mode="json"), **order,
        )  # fmt: skip

    # --- what is heard ----------------------------------------------------------------------

    def heard(self, process: Process, message: Message) -> None:
        """Something that a process of the appliance said: what a report wants of it."""
        what = message["what"]
        if what == "ready" and process.worker is not None:
            self.loaded[process.name] = {
                "rules": message["rules"], "refused": message["refused_number"],
            }  # fmt: skip
        elif what == "reloaded" and message["ok"]:
            self.loaded[process.name] = {
                "rules": message["rules"], "refused": message["refused"],
            }  # fmt: skip
        elif what == "described" and message["asked"]:
            self._asked = False
        elif what == "sampled" and self._process is not None:
            self._process.send("sampled")

    def look(self) -> None:
        """See to its process. Whatever goes wrong here is an event, never a fallback."""
        try:
            self._look()
        except Exception as error:
            told = f"{type(error).__name__}: {error}"
            self.box.record.note("support report failed", self.box.settings.name, {"error": told})
            if self._process is not None:
                self._end("failed", error=told)

    def _look(self) -> None:
        """Hear what its process says; see whether it has ended."""
        if (checking := self._checking) is not None:
            self._hear(checking)
            if checking.popen.poll() is not None:
                self._hear(checking)
                checking.close()
                self._checking = None
        if (process := self._process) is None:
            return
        self._hear(process)
        if self._process is None:
            return
        if self._stop_ns and time.monotonic_ns() > self._stop_ns:
            self.box.processes.kill(process)
        if process.popen.poll() is None:
            return
        self._hear(process)
        told = self.known[self._number]
        if told["state"] not in ENDED:
            how = process.popen.returncode
            cancelled = self._stop_ns > 0
            ended = f"ended ({f'signal {-how}' if how < 0 else f'exit code {how}'})"
            why = "it was cancelled" if cancelled else (
                f"the process that made it {ended}; appliance.log may say more")  # fmt: skip
            kept = f"; the report is kept in {told['location']}" if told["location"] else ""
            self._end("cancelled" if cancelled else "failed", error=why + kept)

    def _hear(self, process: Process) -> None:
        for message in list(process.messages()):  # all first: the last word closes the channel
            what = message.pop("what")
            if what == "release":
                self._release, self._release_ns = message, time.monotonic_ns()
            if process is not self._process:  # another's, or it has said its last word
                continue
            told = self.known[self._number]
            if what in ("progress", "written"):
                told |= message
            elif what == "done":
                self._end("done", progress=1.0, **message)
            elif what == "failed":
                cancelled = message.get("cancelled")
                self._end("cancelled" if cancelled else "failed", error=message["why"])

    def _end(self, state: str, **more: Any) -> None:
        """Of the report that is being made."""
        told = self.known[self._number]
        told |= {"state": state, "ended": datetime.now(UTC).isoformat(timespec="seconds"), **more}
        self._let_go()
        # What one that was killed had begun has the name of this very report, and is no other's.
        rest = half(self._file.parent, told["file_name"].removesuffix(SUFFIX))
        threading.Thread(target=_remove, args=(rest,), daemon=True).start()
        self.box.record.note("support report ended", self.box.settings.name, {
            key: told[key] for key in ("id", "state", "error", "location", "size", "sha256", "to")
        })  # fmt: skip

    def _let_go(self) -> None:
        """Of its process, which has said its last word."""
        if self._sample is not None:
            os.close(self._sample)
            self._sample = None
        process, self._process = self._process, None
        if process is not None:
            self.box.processes.kill(process)
            process.popen.wait()
            process.close()

    # --- what the process asks ----------------------------------------------------------------

    def running(self) -> Message:
        """What only the supervisor knows, for the report's process; secrets are taken out."""
        box = self.box
        names = {PORT: port.FIGURES, WRITER: writer.FIGURES}
        figures: Message = {"reports_known": len(self.known)}
        for name, process in box.processes.running.items():
            at_ns, words = process.page.read()
            if at_ns:
                keys = names.get(name, worker.FIGURES)
                figures[name] = dict(zip(keys, words.tolist(), strict=False))
        return {
            "pid": os.getpid(), "settings": Redactor().tree(box.settings.model_dump(mode="json")),
            "figures": figures, "eve": box.settings.output.eve,
            "log": box.processes.log["path"],
            "fpga": box.block.told(whole=True), "fpga_asked": self._asked,
            "rules": {"files": box.processes.plan.rules, "loaded": self.loaded},
        }  # fmt: skip

    def close(self) -> None:
        """The appliance ends: so does a report."""
        if self._process is not None:
            self._end("cancelled", error="the appliance ended")
        if self._checking is not None:
            self.box.processes.kill(self._checking)
            self._checking.popen.wait()
            self._checking.close()
            self._checking = None


def _remove(path: Path) -> None:
    """Wherever it is: a disk that hangs holds up nobody."""
    with suppress(OSError):
        path.unlink(missing_ok=True)
