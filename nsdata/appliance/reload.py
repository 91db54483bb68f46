"""Other rules and settings for a running appliance: all that was asked for, or nothing.

What decides and what rules are compiled with is taken over while packets flow. Workers are started
with rules that one could compile, and asked for newer ones when they are ready. What engine, port
and sources are built with takes a restart; a reload that would change it is refused, naming it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nsdata.appliance.channel import Message
from nsdata.appliance.processes import Process, RulePlan, option_list
from nsdata.appliance.settings import ApplianceSettings
from nsdata.assembly import build_deciders
from nsdata.config.settings import settings_rows
from nsdata.errors import NsdataError, SettingError

if TYPE_CHECKING:
    from nsdata.appliance.supervisor import Supervisor

LIVE = frozenset({"rules", "in-fallback", "settings", "support"})  # of the file
LIVE_SETTINGS = (
    "drop-meter.", "exposure.", "health.", "restore.", "vars.", "watch.", "action-order",
    "protection.window", "protection.loss", "protection.minimum-packets", "protection.suppression",
    "protection.adaptive.",
)  # fmt: skip


TRIES = 2  # workers that may end while they compile the same rules


@dataclass(frozen=True, slots=True)
class Change:
    """What a reload brings: the file, and the keys whose value is another."""

    file: ApplianceSettings
    keys: tuple[str, ...]


def change(before: ApplianceSettings, file: ApplianceSettings) -> Change:
    """From one to the other. Raises SettingError for what takes a restart."""
    then, options = before.options, file.options
    keys = sorted(
        name.replace("_", "-") for name in type(file).model_fields
        if name != "settings" and getattr(file, name) != getattr(before, name)
    )  # fmt: skip
    restart = [key for key in keys if key not in LIVE]
    old, new = ({key: text for key, text, _ in settings_rows(one)} for one in (then, options))
    others = sorted(key for key in {*old, *new} if old.get(key) != new.get(key))
    restart += [key for key in others if not key.startswith(LIVE_SETTINGS)]
    if options.tunnel_ports() != then.tunnel_ports():  # the decoder knows them by number
        restart += [key for key in others if key.startswith("vars.port-groups.")]
    if restart:
        raise SettingError(
            f"{', '.join(restart)}: takes a restart (nsdata appliance stop, then run); nothing of "
            "this reload was taken over"
        )
    return Change(file, (*keys, *others))


class Reloading:
    """The reloads of one supervisor. `file`: the configuration, read again by each."""

    def __init__(self, box: Supervisor, file: str | os.PathLike[str] | None) -> None:
        self.box = box
        self.file = file
        self.asked = False  # by SIGHUP, not done yet
        self._wanted: RulePlan | None = None  # newer than what workers are started with
        self._proven = False  # what they are started with: one was ready with it
        self._tries = TRIES
        self._order = 0  # of the last reload
        self._begun = 0  # of the last that a worker has taken over
        self._asked: list[str] = []  # workers, of the last
        self._answers: dict[str, Message] = {}

    def serve(self) -> None:
        """Do what SIGHUP asked for; what cannot be is put on record."""
        if self.asked:
            self.asked = False
            try:
                self.reload(None)
            except NsdataError as error:
                box = self.box
                box.record.note("reload refused", box.settings.name, {"error": str(error)})

    def reload(self, rules: list[str] | None) -> tuple[int, list[str], tuple[str, ...]]:
        """Take over the configuration file as it is now; with `rules`, these and nothing else.

        (order, workers asked to compile, keys that changed). Raises NsdataError, and nothing has
        changed, for a file with errors and for what takes a restart.
        """
        box = self.box
        box.rebooting.refuse("reload")
        changed: tuple[str, ...] = ("rules",)
        latest = self._wanted or box.processes.plan
        options = latest.options
        if rules is None and self.file is not None:
            file = ApplianceSettings.load(self.file)
            found = change(box.settings, file)
            self._adopt(found)
            changed, rules, options = found.keys, list(file.rules), option_list(file)
        rules = latest.rules if rules is None else rules
        box.order += 1
        self._order = box.order
        plan = RulePlan(self._order, rules, options)
        self._tries = TRIES
        if self._proven:
            self._wanted = plan
        else:  # nothing better is known to begin with
            box.processes.plan = plan
        asked = [w.name for w in box.processes.workers() if w.ready and self._ask(w, plan)]
        self._asked, self._answers = asked, {}
        told = {"rules": rules, "workers": asked, "changed": list(changed), "order": self._order}
        box.record.note("reload", box.settings.name, told)
        return self._order, asked, changed

    def _adopt(self, found: Change) -> None:
        """Other settings, from now on."""
        box, file = self.box, found.file
        box.deciders.adopt(
            build_deciders(file.options, box, file.exposure()),
            {name: file.options.watch.limits(name) for name in box.processes.names()},
        )
        box.settings = box.processes.settings = file
        if any(key.startswith("health.") for key in found.keys):
            box.look_elsewhere()
        box.obey()

    def _ask(self, worker: Process, plan: RulePlan) -> bool:
        """Whether it was told to compile this."""
        limit = self.box.settings.options.watch.limits(worker.name).start_grace_ns
        asked = worker.send("reload", rules=plan.rules, settings=plan.options, order=plan.order,
                            limit_ns=limit)  # fmt: skip
        if asked:
            worker.asked[plan.order] = plan
        return asked

    def joined(self, worker: Process) -> None:
        """A worker is ready, with the rules it was started with: others may be wanted since."""
        processes, has = self.box.processes, worker.plan
        assert has is not None
        if not self._proven:
            self._proven = True
            if has.order < processes.plan.order:
                self._wanted, processes.plan = processes.plan, has
        newest = self._wanted or processes.plan
        if has.order < newest.order:
            self._ask(worker, newest)

    def gone(self, worker: Process) -> None:
        """A worker has ended; if rules that it compiled were the cause, they are given up."""
        wanted = self._wanted
        if wanted is None or wanted.order not in worker.asked:
            return
        self._tries -= 1
        if not self._tries:
            self._wanted = None
            why = f"{TRIES} workers ended while they compiled it"
            self.box.record.note("reloaded", worker.name,
                                 {"ok": False, "why": why, "order": wanted.order})  # fmt: skip

    def answered(self, worker: Process, message: Message) -> None:
        """A worker has other rules now, or could not compile them.

        Workers that are started later get what one could compile, and nothing else. All rules of
        a new set are on; with the first worker that has it all are decided about anew.
        """
        box, order = self.box, message["order"]
        if order == self._order:
            self._answers[worker.name] = {
                key: message.get(key) for key in ("ok", "why", "rules", "refused")
            }
        plan, wanted = worker.asked.pop(order, None), self._wanted
        if not message["ok"]:
            if wanted is not None and order == wanted.order:
                self._wanted = None
            return
        if plan is not None:
            worker.plan = plan
            if plan.order > box.processes.plan.order:
                box.processes.plan = plan
        if wanted is not None and order >= wanted.order:
            self._wanted = None
        if order > self._begun:
            self._begun = order
            box.figures.reloaded()
            box.deciders.reloaded()
        else:
            box.processes.protect_one(worker)

    def status(self) -> Message:
        """Of the last reload: its order, the workers asked, and what each came to."""
        return {"order": self._order, "workers": self._asked, "answers": self._answers}
