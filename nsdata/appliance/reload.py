"""Other rules and settings for a running appliance: all that was asked for, or nothing.

What decides and what rules are compiled with is taken over while packets flow. What engine, port
and sources are built with takes a restart; a reload that would change it is refused, naming it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nsdata.appliance.channel import Message
from nsdata.appliance.processes import Process, option_list
from nsdata.appliance.settings import ApplianceSettings
from nsdata.assembly import build_deciders
from nsdata.config import settings_rows
from nsdata.errors import NsdataError, SettingError

if TYPE_CHECKING:
    from nsdata.appliance.supervisor import Supervisor

LIVE = frozenset({"rules", "in-fallback", "settings", "support"})  # of the file
LIVE_SETTINGS = (
    "drop-meter.", "exposure.", "health.", "restore.", "vars.", "watch.", "action-order",
    "protection.window", "protection.loss", "protection.minimum-packets", "protection.suppression",
    "protection.adaptive.",
)  # fmt: skip


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
        self._good = box.processes.rules, box.processes.options  # that could be compiled
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
        if rules is None and self.file is not None:
            file = ApplianceSettings.load(self.file)
            found = change(box.settings, file)
            self._adopt(found)
            changed, rules = found.keys, list(file.rules)
        box.processes.rules = rules = box.processes.rules if rules is None else rules
        box.order += 1
        self._order = box.order
        asked = [w.name for w in box.processes.workers() if w.ready
                 and w.send("reload", rules=rules, settings=box.processes.options,
                            order=self._order)]  # fmt: skip
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
        box.processes.options = option_list(file)
        if any(key.startswith("health.") for key in found.keys):
            box.look_elsewhere()
        box.obey()

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
        if not message["ok"]:
            if order == self._order:
                box.processes.rules, box.processes.options = self._good
            return
        if order == self._order:
            self._good = box.processes.rules, box.processes.options
        if order != self._begun:
            self._begun = order
            box.figures.reloaded()
            box.deciders.reloaded()
        else:
            box.processes.protect_one(worker)

    def status(self) -> Message:
        """Of the last reload: its order, the workers asked, and what each came to."""
        return {"order": self._order, "workers": self._asked, "answers": self._answers}
