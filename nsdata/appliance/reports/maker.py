"""The process that makes a support report and sends it: niced, alone, and ended when it is not
wanted any more. Whatever becomes of it, packets and the supervisor do not wait for it.

It is told what to make in its first message, `make`, not on its command line, which everybody on
the machine can read, and tells how far it is (`progress`), and at last `done` or `failed`.
"""

from __future__ import annotations

import logging
import os
import signal
import time
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any

import psutil

import nsdata
from nsdata.appliance.channel import Message, close_all
from nsdata.appliance.child import Child
from nsdata.appliance.control import ask
from nsdata.appliance.reports.parts import Context, parts, secrets_of
from nsdata.appliance.reports.settings import SupportSettings
from nsdata.appliance.settings import ApplianceSettings
from nsdata.errors import NsdataError, SettingError
from nsdata.support.archive import Archive, Written, sweep
from nsdata.support.release import Release, check
from nsdata.support.upload import Cancelled, Upload
from nsdata.support.url import Location, below, parse

log = logging.getLogger(__name__)
NICE = 10
WAIT_S = 3.0  # for frames of a sample and the block's registers
TOLD_S = 0.2  # between two words about how far it is
COLLECT, SEND = 0.5, 0.5  # shares of the whole, where it is sent


class ReportProcess:
    """One report. `make`: id, by, at_s, name, file_name, directory, config, support (settings),
    to (a URL, "vendor" or None), out, packets."""

    def __init__(self, child: Child) -> None:
        self.child = child
        self.order: Message | None = None
        self.sample: int | None = None
        self.sampled = False
        self.told_s = 0.0
        signal.signal(signal.SIGTERM, self._cancel)
        child.on("make", self._make)
        child.on("sampled", self._sampled)

    def _cancel(self, number: int, frame: FrameType | None) -> None:
        """At once, wherever it is: a server may not answer for long. Once only."""
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise Cancelled("it was cancelled")

    def _make(self, message: Message, descriptors: list[int]) -> None:
        self.order = message
        if descriptors:
            self.sample = descriptors[0]

    def _sampled(self, message: Message, descriptors: list[int]) -> None:
        close_all(descriptors)
        self.sampled = True

    # --- as it goes -------------------------------------------------------------------------

    def look(self) -> None:
        """Hear what there is to be heard. Raises Cancelled."""
        self.child.page.beat()
        self.child.listen()
        if self.child.stopping:  # it was signalled before this was there
            raise Cancelled("it was cancelled")
        if self.child.orphan:
            raise Cancelled("the appliance ended")

    def wait(self, seconds: float) -> None:
        """Sleep, unless it is cancelled."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self.look()
            self.child.pause(int(left * 1e9))

    def tell(self, state: str, what: str, share: float, **more: Any) -> None:
        """How far it is; not too often."""
        self.look()
        now = time.monotonic()
        if now - self.told_s >= TOLD_S or share in (0.0, 1.0):
            self.told_s = now
            self.child.tell("progress", state=state, doing=what, progress=round(share, 4), **more)

    # --- what it does -----------------------------------------------------------------------

    def run(self) -> None:
        """Make and send what is asked for, or say why not."""
        while self.order is None:
            self.look()
            self.child.pause(1_000_000_000)
        order = self.order
        support = SupportSettings.model_validate(order["support"])
        try:
            if order["to"] == "check":
                self._release(support)
                return
            location = self._location(order, support)
            written = self._write(order, support, 1.0 if location is None else COLLECT)
        except Cancelled:
            raise
        except (NsdataError, OSError) as error:
            self.child.tell("failed", why=str(error))
            return
        except Exception as error:
            log.exception("a support report failed", extra={"event": "support report failed"})
            self.child.tell("failed", why=f"{type(error).__name__}: {error}")
            return
        self.child.tell("written", location=str(written.path), size=written.size,
                        sha256=written.sha256)  # fmt: skip
        if order["out"] is None:
            with suppress(OSError):  # the report is there all the same
                sweep(written.path, order["name"], support.keep)
        if location is not None:
            self._upload(written, location, support)
        else:
            self.child.tell("done")

    def _release(self, support: SupportSettings) -> Release:
        found = check(nsdata.__version__, support.vendor.latest, support.ways())
        self.child.tell("release", latest=found.latest, running=found.running, why=found.why,
                        is_latest=found.is_latest)  # fmt: skip
        return found

    def _location(self, order: Message, support: SupportSettings) -> Location | None:
        """Where it goes. Raises SettingError when it may not go there."""
        if order["to"] is None:
            return None
        if order["to"] != "vendor":
            return parse(order["to"])
        release = self._release(support)
        if not release.is_latest:
            raise SettingError(
                f"the vendor takes reports of the latest version only: {release.why}"
            )
        assert support.vendor.url is not None
        return below(support.vendor.url, order["file_name"])

    def _write(self, order: Message, support: SupportSettings, share: float) -> Written:
        """The archive. Raises OutputError, Cancelled."""
        path = Path(order["out"] or Path(support.directory) / order["file_name"])
        if order["out"] is None:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder = order["file_name"].removesuffix(".tar.gz")
        context = self._context(order, support)
        made = parts(packets=self.sample is not None)
        with Archive(path, folder, order["at_s"], support.max_size) as archive:
            for number, (name, make) in enumerate(made):
                self.tell("collecting", name, share * number / len(made))
                try:
                    part = make(context)
                    archive.add(name, part.data, **part.more)
                except Cancelled:
                    raise
                except (ValueError, KeyError, OSError, NsdataError, psutil.Error) as error:
                    archive.lacks(name, context.redactor.text(f"{type(error).__name__}: {error}"))
                except Exception as error:  # a report that lacks a part is worth more than none
                    archive.lacks(name, f"{type(error).__name__}")
            self.tell("writing", "manifest.json", share)
            return archive.finish({
                "report": order["id"], "appliance": order["name"], "by": order["by"],
                "at_s": order["at_s"], "nsdata": nsdata.__version__,
                "packets": self.sample is not None,
            })  # fmt: skip

    def _context(self, order: Message, support: SupportSettings) -> Context:
        directory = Path(order["directory"])
        running = ask(directory, {"command": "support"})
        end = time.monotonic() + WAIT_S
        while time.monotonic() < end:
            waits = running["fpga_asked"] or (self.sample is not None and not self.sampled)
            if not waits:
                break
            self.wait(0.05)
            running = ask(directory, {"command": "support"})
        status = ask(directory, {"command": "status"})
        config = Path(order["config"]) if order["config"] else None
        found = None
        if config is not None:
            with suppress(SettingError):  # the part says what the appliance runs with
                found = ApplianceSettings.load(config)
        known = [running["settings"], *([] if found is None else [found.model_dump(mode="json")])]
        redactor = secrets_of(known, config)
        return Context(directory, running, status, found, redactor, support.log_size,
                       support.eve_size, self.sample)  # fmt: skip

    def _upload(self, written: Written, location: Location, support: SupportSettings) -> None:
        upload = Upload(
            support.upload(),
            lambda sent, size: self.tell(
                "uploading", location.shown, COLLECT + SEND * sent / max(1, size),
                sent=sent, attempt=upload.attempt, failures=upload.failures[-3:],
            ),
            self.wait,
        )  # fmt: skip
        try:
            sent = upload.send(written.path, location)
        except (NsdataError, OSError) as error:
            self.child.tell("failed", why=f"{error}; the report is kept in {written.path}",
                            cancelled=isinstance(error, Cancelled))  # fmt: skip
            return
        self.child.tell("done", sent_to=sent.url, address=sent.address, status=sent.status,
                        attempts=sent.attempts)  # fmt: skip


def run(child: Child, plan: dict[str, Any]) -> None:
    """Be the report process: behind everybody else for CPU, disk and, if need be, memory."""
    os.nice(NICE)
    with suppress(OSError, psutil.Error):
        psutil.Process().ionice(psutil.IOPRIO_CLASS_IDLE)
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")
    child.tell("ready")
    try:
        ReportProcess(child).run()
    except Cancelled as error:
        child.tell("failed", why=str(error), cancelled=True)
