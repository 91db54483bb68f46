"""Rebooting a running appliance: its processes begin anew, and all traffic is permitted meanwhile.

nsdata.fallback.reboot says what is done when; this does it, puts it on record and brings back the
state. Asked again while one runs, or with an id that was asked before, nothing happens twice.
"""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from nsdata.appliance.channel import Message
from nsdata.appliance.processes import PORT, WRITER, worker_name
from nsdata.appliance.store import Store
from nsdata.errors import EngineError
from nsdata.fallback.reasons import Reason, State
from nsdata.fallback.reboot import Order, Progress, Reboot, Seen, Verb, plan
from nsdata.fallback.watch_process import Phase

if TYPE_CHECKING:
    from nsdata.appliance.supervisor import Supervisor

KIND = "reboot"  # of its events in the store
KEPT = 32  # reboots whose ids are known
NOTE = "reboot"
LONGEST_NOTE = 1000
ID = re.compile(r"[\w.-]{1,64}")
PROCESS_FAULTS = (Reason.PROCESS, Reason.MEMORY, Reason.HEARTBEAT)


class Rebooting:
    """The reboots of one supervisor, one at a time."""

    def __init__(self, box: Supervisor, store: Store) -> None:
        self.box = box
        self.reboot: Reboot | None = None  # that runs
        self.told: Message = {}  # of the last one: what does not change by looking at it
        self.known: dict[str, Message] = {}  # by id, the newest last
        for told in reversed(store.events(KIND, 4 * KEPT)):
            self._know(told["evidence"])
        self._before = (State.NORMAL, Reason.NO_ERROR)

    @property
    def running(self) -> bool:
        """Whether one runs now."""
        return self.reboot is not None

    def begun_by_hand(self, state: str, reason: str) -> bool:
        """Whether an appliance that ended in this state was in fallback by a person's hand.

        A reboot that was cut off had put it there itself, unless a person had before or asked
        for it since.
        """
        last = next(reversed(self.known.values()), None)
        if last is not None and last["state"] == Progress.RUNNING.value:
            told = {**last, "state": Progress.FAILED.value, "error": "the supervisor ended"}
            self._put(told)
            return bool(last["by_hand"])
        return (state, reason) == (State.FALLBACK, Reason.NO_ERROR)

    # --- asking -----------------------------------------------------------------------------

    def ask(self, number: str, by: str, note: str, port: bool) -> Message:
        """Reboot, once for each id (`number`; empty: a new one); what there is to say of it, and
        whether it was `started` by this. Raises EngineError."""
        if number and not ID.fullmatch(number):
            raise EngineError(
                f"{number[:80]!r} is no id of a reboot: 1 to 64 letters, digits, and . _ - are"
            )
        if self.running:
            return {"started": False, "reboot": self.status()}
        if number in self.known:
            return {"started": False, "reboot": self.known[number]}
        if self.box.stopping:
            raise EngineError("the appliance stops; there is nothing to be rebooted")
        self._begin(number or uuid.uuid4().hex, by, note[:LONGEST_NOTE], port)
        return {"started": True, "reboot": self.status()}

    def _begin(self, number: str, by: str, note: str, port: bool) -> None:
        box, now = self.box, time.monotonic_ns()
        deciders = box.deciders
        self._before = deciders.state, deciders.reason
        port = port or PORT in self._faults()
        policy = box.watch.policy
        workers = [worker_name(i) for i in range(box.settings.workers)]
        gone_ns = policy.stop_grace_ns + 2 * policy.kill_grace_ns
        self.reboot = Reboot(plan(workers, WRITER, PORT if port else None), now, gone_ns)
        self.told = {
            "id": number, "by": by[:200], "note": note, "began_ns": time.time_ns(),
            "ended_ns": None, "port": port,
            "before": {"state": deciders.state.value, "reason": deciders.reason.value},
            "by_hand": self._before == (State.FALLBACK, Reason.NO_ERROR),
        }  # fmt: skip
        self._put(self.status() or {})
        if deciders.state is State.NORMAL:
            deciders.fallback(note or NOTE, self._evidence())
        deciders.carry_out(box.watch.forgive(time.monotonic_ns()))

    def by_hand(self, note: str) -> None:
        """A person wants it to stay in fallback when the reboot is over."""
        self.told |= {"by_hand": True, "stay": note}
        self._put(self.status() or {})

    def known_as(self, number: str) -> Message:
        """What there is to say of the one with this id. Raises EngineError."""
        last = self.status()
        if last is not None and last["id"] == number:
            return last
        if number not in self.known:
            raise EngineError(f"there is no reboot {number[:80]!r}")
        return self.known[number]

    def refuse(self, what: str) -> None:
        """EngineError while one runs: `what` has to wait."""
        if self.running:
            raise EngineError(
                f"reboot {self.told['id']} runs: no {what} before it is over (nsdata appliance "
                "status shows how far it is)"
            )

    def status(self) -> Message | None:
        """Of the one that runs, or ran last; None: there was none."""
        if self.reboot is not None:
            return {**self.told, **self.reboot.status()}
        return next(reversed(self.known.values()), None)

    # --- doing ------------------------------------------------------------------------------

    def look(self) -> None:
        """See how far it is, and do what comes next."""
        if self.reboot is None or self.box.stopping:
            return
        box, now = self.box, time.monotonic_ns()
        before = self.reboot.what
        try:
            for order in self.reboot.look(now, self._seen()):
                self._do(order)
        except Exception as error:
            self._give_up(error)
            raise
        if self.reboot.progress is not Progress.RUNNING:
            self._end(self.reboot.progress)
        elif self.reboot.what != before:
            box.record.note("reboot step", box.settings.name, self._evidence())

    def _seen(self) -> Seen:
        box = self.box
        port = box.figures.port
        settled = port.get("order") == box.order and not port.get("held_packets")
        phases = {name: Phase(one["phase"]) for name, one in box.watch.status().items()}
        return Seen(phases, settled, self._faults())

    def _faults(self) -> dict[str, str]:
        """Who holds a fault of processes, by name."""
        holders = self.box.watch.standing.holders
        return {name: reason.value for reason in PROCESS_FAULTS for name in holders(reason)}

    def _do(self, order: Order) -> None:
        box, name, now = self.box, order.name, time.monotonic_ns()
        match order.verb:
            case Verb.STOP:
                box.deciders.carry_out(box.watch.stop(name, now))
                if name == WRITER:
                    box.record.let_go()  # it drains what it was sent; later lines wait here
                if process := box.processes.running.get(name):
                    process.ready = False  # nobody is wired to it any more
                    process.send("stop")
            case Verb.START:
                limits = box.settings.options.watch.limits(name)
                box.deciders.carry_out(box.watch.add(name, now, limits))
            case Verb.STUCK:
                box.deciders.carry_out(box.watch.stuck(name, now, f"reboot {self.told['id']}"))

    def _end(self, progress: Progress) -> None:
        """Back to the state there was, but for faults: they are found anew."""
        deciders = self.box.deciders
        self.told["ended_ns"] = time.time_ns()
        told = self.status() or {}
        self.reboot = None
        asked = self.told.get("stay")
        if progress is Progress.DONE and (asked is not None or not told["by_hand"]):
            deciders.rebooted({KIND: self._evidence()[KIND]}, asked)
        self._put({**told, "after": {"state": deciders.state.value,
                                     "reason": deciders.reason.value}})  # fmt: skip

    def _give_up(self, error: Exception) -> None:
        """After what nobody expected, which is *unknown* and holds: everybody is started."""
        box, told = self.box, self.status() or {}
        self.reboot = None
        self._put({**told, "state": Progress.FAILED.value, "ended_ns": time.time_ns(),
                   "error": f"{type(error).__name__}: {error}"})  # fmt: skip
        for name in box.processes.names():
            if name not in box.watch.status():
                self._do(Order(Verb.START, name))

    # --- on record --------------------------------------------------------------------------

    def _evidence(self) -> dict[str, Any]:
        told = {key: self.told[key] for key in ("id", "by", "note") if self.told[key]}
        if self.reboot is not None:
            told |= {key: self.reboot.status()[key] for key in ("step", "of", "what")}
        return {KIND: told}

    def _put(self, told: Mapping[str, Any]) -> None:
        self._know(told)
        self.box.record.note(KIND, self.box.settings.name, told)

    def _know(self, told: Mapping[str, Any]) -> None:
        if "id" in told:
            self.known.pop(told["id"], None)
            self.known[told["id"]] = dict(told)
            while len(self.known) > KEPT:
                del self.known[next(iter(self.known))]
