"""What may be asked of a running appliance, over its control socket."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from nsdata.appliance.agent.account import account
from nsdata.appliance.arguments import flag, number, real, text, texts
from nsdata.appliance.channel import Message
from nsdata.appliance.processes import PORT
from nsdata.appliance.source import Pace
from nsdata.errors import EngineError, NsdataError
from nsdata.fallback.reasons import about as told_of
from nsdata.offload.registers import ErrorClass
from nsdata.path.port import FULL_SHARE

BLOAT_MOST = 1 << 30  # bytes

if TYPE_CHECKING:
    from nsdata.appliance.supervisor import Supervisor

COSTS_TOLD = 10  # rules
COSTS_MOST = 1_000_000  # rules
TRANSITIONS_TOLD, TRANSITIONS_MOST = 20, 10_000
TESTS_MOST = 1 << 53  # the number of a test notification
NOTE_MOST = 1000  # characters
READING = frozenset({  # change nothing: what goes wrong in one is that one's answer
    "status", "stats", "transitions", "reboot-status", "report-status", "report-vendor", "support",
    "notify-tested", "account",
})  # fmt: skip
log = logging.getLogger(__name__)


class Commands:
    """The commands of one supervisor, by name."""

    def __init__(self, supervisor: Supervisor) -> None:
        self.box = supervisor

    def answer(self, message: Message) -> Message:
        """What somebody asks over the control socket; the answer. Raises NsdataError."""
        what = text(message, "command")
        commands: dict[str, Callable[[Message], Message]] = {
            "status": self.status, "fallback": self.fallback, "restore": self.restore,
            "reload": self.reload, "reload-status": self.reload_status, "stop": self.stop,
            "transitions": self.transitions,
            "stats": self.stats,
            "reboot": self.reboot, "reboot-status": self.reboot_status,
            "report": self.report, "report-status": self.report_status,
            "report-cancel": self.report_cancel, "report-vendor": self.report_vendor,
            "support": self.support,
            "notify-test": self.notify_test, "notify-tested": self.notify_tested,
            "account": lambda message: account(self.box),
        }  # fmt: skip
        if self.box.settings.testing:
            commands |= {"inject": self.inject, "bloat": self.bloat, "offer": self.offer}
        if what not in commands:
            raise EngineError(f"there is no command {what!r}; there are {', '.join(commands)}")
        try:
            return commands[what](message)
        except NsdataError:
            raise
        except Exception as error:
            if what not in READING:
                raise
            log.exception("unexpected in the command %s", what, extra={"event": "unexpected"})
            told = f"{type(error).__name__}: {error}"
            raise EngineError(f"{what} failed, which is a bug: {told}") from error

    def status(self, message: Message) -> Message:
        """State, reason, figures, processes."""
        ledger = self.box.moment().ledger
        deciders = self.box.deciders
        store = self.box.record.store
        reading, about = deciders.guard.meter.last, told_of(deciders.reason, deciders.state)
        return {
            "name": self.box.settings.name,
            "state": deciders.state.value,
            "reason": deciders.reason.value,
            "severity": about.severity.value,
            "cause": about.cause,
            "resolution": about.resolution,
            "ledger": ledger.as_dict(),
            "drop_ratio": reading.ratio if reading else 0.0,
            "health": deciders.health_told,
            "reentry": deciders.reentry.status(),
            "protection": self._protection(),
            "segments": self._segments(),
            "port": self.box.figures.port,
            "obeyed": self.box.obeyed,
            "store": {"error": store.error, "rows_lost": store.lost},
            "reboot": self.box.rebooting.status(),
            "reporter": self.box.reporting.status(),
            "manager": self.box.agency.status(),
            "fpga": self.box.block.told(),
            "processes": deciders.watch.status(),
        }

    def stats(self, message: Message) -> Message:
        """Tiers, protections, segments, and the rules that cost most since they were loaded."""
        moment, deciders = self.box.moment(), self.box.deciders
        return {
            "name": self.box.settings.name,
            "now_ns": moment.now_ns,
            "state": deciders.state.value,
            "reason": deciders.reason.value,
            "share": deciders.share / FULL_SHARE,
            "tiers": deciders.tiers.as_dict(),
            "protection": self._protection(),
            "rules": self._costs(number(message, "most", COSTS_TOLD, COSTS_MOST)),
            "segments": self._segments(),
        }

    def _protection(self) -> Message:
        measures = self.box.figures.measures()
        told = self.box.deciders.protection.status()
        return {**told, "suppressed_alerts": measures.suppressed}

    def _segments(self) -> Message:
        told = self.box.deciders.exposure.status()
        exposed = self.box.figures.exposed()
        return {name: {**told[name], **counts} for name, counts in exposed.items()}

    def _costs(self, most: int) -> list[Message]:
        costs = self.box.figures.costs
        ranked = sorted(costs, key=lambda sid: (-costs[sid].work, -costs[sid].checked, sid))
        total = sum(cost.work for cost in costs.values())
        off = set(self.box.deciders.disabled)
        return [
            {
                "rule": sid,
                **costs[sid]._asdict(),
                "share": round(costs[sid].work / total, 6) if total else 0.0,
                "disabled": sid in off,
            }
            for sid in ranked[:most]
        ]

    def fallback(self, message: Message) -> Message:
        """Into fallback by hand; while a reboot runs, it stays there when that is over."""
        note = text(message, "note")
        if self.box.rebooting.running:
            self.box.rebooting.by_hand(note)
            return {"transitions": [], "after_reboot": True}
        done = self.box.deciders.fallback(note)
        return {"transitions": [one.as_dict() for one in done]}

    def restore(self, message: Message) -> Message:
        """Back to normal by hand; refused while the cause holds, unless forced."""
        self.box.rebooting.refuse("restore")
        done = self.box.deciders.restore(force=flag(message, "force"))
        return {"transitions": [one.as_dict() for one in done]}

    def reload(self, message: Message) -> Message:
        """The configuration file read again, or other rules, without a packet lost."""
        order, workers, changed = self.box.reloading.reload(texts(message, "rules"))
        return {"order": order, "workers": workers, "changed": list(changed)}

    def reboot(self, message: Message) -> Message:
        """Processes begin anew, once for each `id`; `status` shows how far it is."""
        name, by, note = (text(message, key) for key in ("id", "by", "note"))
        return self.box.rebooting.ask(name, by, note, port=flag(message, "port"))

    def reboot_status(self, message: Message) -> Message:
        """How far a reboot (`id`) is, and what became of it."""
        return self.box.rebooting.known_as(text(message, "id"))

    def report(self, message: Message) -> Message:
        """Begin a support report: `to` (a URL or "vendor"), `out` (a file), `packets`, `by`, `id`;
        its status."""
        return self.box.reports.start(message)

    def report_status(self, message: Message) -> Message:
        """How far a report (`id`; else the newest) is, and what became of it."""
        return self.box.reports.status(text(message, "id"))

    def report_cancel(self, message: Message) -> Message:
        """End the report that is being made."""
        return self.box.reports.cancel(text(message, "id"))

    def report_vendor(self, message: Message) -> Message:
        """Whether reports may be sent to the vendor now, and why not."""
        return self.box.reports.vendor()

    def support(self, message: Message) -> Message:
        """For the process that makes a report: what only the supervisor knows."""
        return self.box.reports.running()

    def reload_status(self, message: Message) -> Message:
        """What the workers made of the last reload."""
        return self.box.reloading.status()

    def stop(self, message: Message) -> Message:
        """Stop in order."""
        self.box.stopping = True
        return {"stopping": True}

    def transitions(self, message: Message) -> Message:
        """The newest transitions."""
        most = number(message, "most", TRANSITIONS_TOLD, TRANSITIONS_MOST)
        return {"transitions": self.box.record.store.transitions(most)}

    def notify_test(self, message: Message) -> Message:
        """Have a test notification sent; `notify-tested` says what came of it."""
        test = self.box.reporting.test(text(message, "note")[:NOTE_MOST])
        return {"number": test, "targets": list(self.box.settings.notify.targets)}

    def notify_tested(self, message: Message) -> Message:
        """What came of a test so far, by target."""
        test = number(message, "number", 0, TESTS_MOST)
        return {"results": self.box.reporting.tests.get(test, {})}

    def inject(self, message: Message) -> Message:
        """For tests: an error of this class (docs/fpga-errors.md) from the block."""
        error = text(message, "error")
        if error not in ErrorClass.__members__:
            classes = ", ".join(ErrorClass.__members__)
            raise EngineError(f"there is no error class {error!r}; there are {classes}")
        for worker in self.box.processes.workers():
            worker.send("inject", error=error)
        return {"injected": error}

    def bloat(self, message: Message) -> Message:
        """For tests: a process takes so many bytes of memory more, as a leak would."""
        name, size = text(message, "process"), number(message, "bytes", -1, BLOAT_MOST)
        process = self.box.processes.running.get(name)
        if process is None:
            running = ", ".join(self.box.processes.running)
            raise EngineError(f"bloat takes a process ({running}), not {name!r}")
        return {"bloated": process.send("bloat", bytes=size)}

    def offer(self, message: Message) -> Message:
        """For tests: take frames at another rate (packets/s) from now on; none for nothing."""
        rate = real(message, "rate")
        self.box.processes.rate = None if rate is None else Pace(rate).rate
        if port := self.box.processes.running.get(PORT):
            port.send("offer", rate=self.box.processes.rate)
        return {"rate": self.box.processes.rate}
