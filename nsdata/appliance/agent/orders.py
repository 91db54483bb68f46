"""A manager's commands, carried out on the appliance through its control socket, once each.

| command | what the control socket is asked |
| --- | --- |
| inspect, bypass | `restore`, `fallback` |
| reload | `reload` |
| reboot | `reboot` with the command's `id`, then `reboot-status` |
| support-report | `report` with the command's `id`, then `report-status`, `Delivery` |
| stop-report | `report-cancel` with the id of the report, or its delivery ends |

What takes time is asked after until it is over, also after a restart of the agent or of the
appliance.
"""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Any
from uuid import UUID

from nsdata.appliance.agent.delivery import Delivery
from nsdata.appliance.agent.journal import Journal, interrupted
from nsdata.appliance.control import ask
from nsdata.appliance.protocol import Command, CommandKind, Outcome, Result
from nsdata.errors import EngineError, OutputError

LONG = {CommandKind.REBOOT: "reboot-status", CommandKind.SUPPORT_REPORT: "report-status"}
UNDER_WAY = ("running", "starting", "collecting", "writing", "uploading")  # states of these
MADE = 0.5  # share of a report to the manager that is done when it is made
SILENT_S = 120.0  # without an answer of the appliance: it has failed
ERROR_MOST = 2000
WANTED = {CommandKind.INSPECT: "normal", CommandKind.BYPASS: "fallback"}  # refused there: done
log = logging.getLogger(__name__)


class Orders:
    """Of one agent. Methods raise OutputError when the journal fails: then nothing is begun."""

    def __init__(self, directory: Path, journal: Journal) -> None:
        self.directory = directory
        self.journal = journal
        self.running: dict[UUID, Command] = {}
        self.deliveries: dict[UUID, tuple[Delivery, dict[str, Any]]] = {}  # and the report's status
        self._progress: dict[UUID, Result] = {}
        self._heard: dict[UUID, float] = {}  # monotonic
        self._unnoted: dict[UUID, Result] = {}  # ends that the journal did not take

    def resume(self) -> None:
        """What an agent before this one has begun."""
        for command in self.journal.unfinished():
            if command.kind in LONG:
                self._long(command)
            else:
                self._keep(interrupted(command))

    def carry_out(self, command: Command, asked_s: float | None = None) -> bool:
        """Do it, unless it was begun before or is no longer good; whether it was done now.
        asked_s: when the manager was asked what to do, by `clock_s`; None: now."""
        if not self.journal.begin(command):
            return False
        age_s = 0.0 if asked_s is None else clock_s() - asked_s
        if command.good_for_s is not None and age_s >= command.good_for_s:
            self._end(command, Outcome.FAILED, {}, "expired, not carried out")
            return True
        if command.kind is CommandKind.STOP_REPORT and self._stop(command):
            return True
        try:
            told = ask(self.directory, _request(command))
        except EngineError as error:
            self._end(command, Outcome.FAILED, {}, str(error))
            return True
        told = told.get("reboot", told) if command.kind is CommandKind.REBOOT else told
        if command.kind in LONG and told["id"] != str(command.id):
            self._end(command, Outcome.FAILED, told, f"{told['id']} is under way since before")
        else:
            if told.get("state") in UNDER_WAY:
                self._long(command)
            self._weigh(command, told)
        return True

    def results(self, most: int) -> list[Result]:
        """What the manager is to know: ends it has not acknowledged, progress."""
        for command in list(self.running.values()):
            self._look(command)
        for result in list(self._unnoted.values()):
            self._keep(result)
        found = [*self.journal.results(most), *self._unnoted.values()]
        return [*found, *self._progress.values()][:most]

    def told(self, results: list[Result]) -> None:
        """It knows these."""
        self.journal.told(results)

    # --- what takes time --------------------------------------------------------------------

    def _long(self, command: Command) -> None:
        self.running[command.id] = command
        self._heard[command.id] = time.monotonic()

    def _stop(self, command: Command) -> bool:
        """End the delivery that is meant, if it is one."""
        for number, (delivery, told) in self.deliveries.items():
            if str(number) == command.parameters.get("report"):
                delivery.stop()
                self._end(command, Outcome.DONE, told)
                return True
        return False

    def _look(self, command: Command) -> None:
        if command.id in self.deliveries:
            self._follow(command)
            return
        try:
            told = ask(self.directory, {"command": LONG[command.kind], "id": str(command.id)})
        except EngineError as error:
            if time.monotonic() - self._heard[command.id] > SILENT_S:
                self._end(command, Outcome.FAILED, {}, str(error))
            return
        self._heard[command.id] = time.monotonic()
        self._weigh(command, told)

    def _weigh(self, command: Command, told: dict[str, Any]) -> None:
        """What the appliance says of a command: it goes on, goes to the manager now, or is over."""
        if told.get("state") in UNDER_WAY:
            self._note(command, told)
        elif told.get("state") == "done" and _to_manager(command):
            self._deliver(command, told)
        else:
            self._end(command, *_judge(command, told))

    def _deliver(self, command: Command, told: dict[str, Any]) -> None:
        """It is made: on to the manager, in a thread of its own."""
        file, size, digest = Path(told["location"]), int(told["size"]), str(told["sha256"])
        self.running[command.id] = command
        delivery = Delivery(self.directory, command.id, file, size, digest)
        self.deliveries[command.id] = delivery, told
        delivery.start()
        self._follow(command)

    def _follow(self, command: Command) -> None:
        delivery, told = self.deliveries[command.id]
        if not delivery.over:
            share = MADE + (1 - MADE) * delivery.received / delivery.size
            failing = f"; again soon: {delivery.failing}" if delivery.failing else ""
            now = {"state": "uploading", "doing": f"to the manager{failing}", "progress": share}
            self._note(command, {**told, **now})
            return
        del self.deliveries[command.id]
        kept = f"; the report is kept in {told['location']} of the appliance"
        error = f"{delivery.error}{kept}" if delivery.error else ""
        self._end(command, Outcome.FAILED if error else Outcome.DONE, told, error)

    def _note(self, command: Command, told: dict[str, Any]) -> None:
        progress = told.get("progress")
        if "step" in told and told.get("of"):
            progress = (told["step"] - 1) / told["of"]
        usable = isinstance(progress, int | float) and 0 <= progress <= 1
        made = MADE if _to_manager(command) and command.id not in self.deliveries else 1.0
        self._progress[command.id] = Result(
            id=command.id,
            outcome=Outcome.RUNNING,
            at_ns=time.time_ns(),
            told=told,
            progress=progress * made if usable and progress is not None else None,
        )

    def _end(
        self, command: Command, outcome: Outcome, told: dict[str, Any], error: str = ""
    ) -> None:
        self.running.pop(command.id, None)
        self._progress.pop(command.id, None)
        self._heard.pop(command.id, None)
        self._keep(
            Result(
                id=command.id,
                outcome=outcome,
                at_ns=time.time_ns(),
                told=told,
                error=error[:ERROR_MOST],
            )
        )

    def _keep(self, result: Result) -> None:
        """On disk; while that is full, here."""
        try:
            self.journal.end(result)
        except OutputError as error:
            log.warning("a result is not on disk yet: %s", error)
            self._unnoted[result.id] = result
        else:
            self._unnoted.pop(result.id, None)


def clock_s() -> float:
    """Seconds since the machine was started, also those in which it was suspended."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def _to_manager(command: Command) -> bool:
    return command.parameters.get("destination") == "manager"


def _request(command: Command) -> dict[str, Any]:
    given = command.parameters
    match command.kind:
        case CommandKind.INSPECT:
            return {"command": "restore", "force": bool(given.get("force"))}
        case CommandKind.BYPASS:
            who, note = str(given.get("by", "")), str(given.get("note", ""))
            return {"command": "fallback", "note": f"{note} ({who})" if note else who}
        case CommandKind.RELOAD:
            return {"command": "reload"}
        case CommandKind.REBOOT:
            who, note = str(given.get("by", "")), str(given.get("note", ""))
            return {"command": "reboot", "id": str(command.id), "by": who, "note": note}
        case CommandKind.SUPPORT_REPORT:
            to = {"custom": given.get("url", ""), "vendor": "vendor"}.get(
                str(given.get("destination", "local")), ""
            )
            return {
                "command": "report", "id": str(command.id), "by": str(given.get("by", "")),
                "to": to, "packets": bool(given.get("packets")),
            }  # fmt: skip
        case CommandKind.STOP_REPORT:
            return {"command": "report-cancel", "id": str(given.get("report", ""))}


def _judge(command: Command, told: dict[str, Any]) -> tuple[Outcome, dict[str, Any], str]:
    """(outcome, what is told, error) of something that is over."""
    error = str(told.get("error", ""))
    if command.kind in LONG and told["state"] != "done":
        error = error or str(told["state"])
    wanted = WANTED.get(command.kind)
    for one in told.get("transitions", []):
        if one["outcome"] == "refused" and one["to"] != wanted:
            error = str(one.get("evidence", {}).get("recheck", {}).get("why", "refused"))
    return (Outcome.FAILED if error else Outcome.DONE), told, error
