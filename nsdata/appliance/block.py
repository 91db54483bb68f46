"""The supervisor's end of the FPGA block: what its worker says of it, and the errors on record.

The worker that owns the driver reads the block every two seconds (nsdata.offload.description) and
says what it found; it is an old word, of which the time is told. An error stays on record when the
block was reset and the worker replaced, until the supervisor ends.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from nsdata.appliance.channel import Message
from nsdata.fallback.reasons import Reason
from nsdata.offload.description import decoded
from nsdata.offload.registers import REGISTERS

if TYPE_CHECKING:
    from nsdata.appliance.supervisor import Supervisor

RECORDS = 8  # of errors, the newest
LONG = ("registers",)  # members of a record that only a support report has


class Block:
    """Of one supervisor."""

    def __init__(self, box: Supervisor) -> None:
        self.box = box
        self.errors: deque[Message] = deque(maxlen=RECORDS)  # the newest last
        self._held = False  # the reason of a fallback
        self._unused = False  # inspection goes on without it
        self._found: Message = {}
        self._found_ns = 0  # since the epoch

    @property
    def state(self) -> str | None:
        """working, failed or unused; None: there is none."""
        if self.box.settings.offload is None:
            return None
        return "failed" if self._held else "unused" if self._unused else "working"

    # --- what its worker says -----------------------------------------------------------------

    def heard(self, process: str, message: Message) -> None:
        """A message of a worker: `fpga` (it has failed), `fpga over`, `described`."""
        what = message["what"]
        if what == "fpga":
            self._failed(process, message["fpga"], message["software"])
        elif what == "fpga over":
            self.over({"why": "the block was brought back"})
        else:
            self._found, self._found_ns = message["fpga"], time.time_ns()

    def _failed(self, process: str, told: Message, software: bool) -> None:
        """In software inspection goes on without it."""
        evidence = {"process": process, "fpga": told}
        self.errors.append({
            "at_ns": time.time_ns(), "over_ns": None, **told, "registers": _dump(told),
        })  # fmt: skip
        self._unused = software
        if software:
            self.box.record.note("FPGA out of use", process, evidence)
        else:
            self._held = True
            self.box.deciders.fault(Reason.FPGA, evidence)

    def over(self, evidence: Mapping[str, Any]) -> None:
        """It works again, or another worker begins with it."""
        self._unused = False
        if self.errors and self.errors[-1]["over_ns"] is None:
            self.errors[-1]["over_ns"] = time.time_ns()
        if self._held:
            self._held = False
            self.box.deciders.clear(Reason.FPGA, evidence)

    # --- what is told of it ---------------------------------------------------------------------

    def told(self, *, whole: bool = False) -> Message | None:
        """Identity, registers, counters, errors (the newest first); None: there is none.

        whole: the registers at the moment of each error, too.
        """
        if self.state is None:
            return None
        return {
            "transport": self.box.settings.offload,
            "state": self.state,
            "read_ns": self._found_ns or None,  # since the epoch
            **{key: value for key, value in self._found.items() if key != "transport"},
            "errors": [
                {key: value for key, value in one.items() if whole or key not in LONG}
                for one in reversed(self.errors)
            ],
        }


def _dump(told: Message) -> dict[str, Message]:
    """The registers in an error's evidence, decoded."""
    found = told.get("registers")
    if not isinstance(found, dict):
        return {}
    return {name: decoded(name, int(word, 0)) for name, word in found.items() if name in REGISTERS}
