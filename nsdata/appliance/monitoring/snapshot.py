"""The figures of an appliance at one instant, as the supervisor puts them up for who reports them.

Counters count since the supervisor started, over all restarts of its processes: what those that
ended had counted is kept here. Times are nanoseconds of CLOCK_MONOTONIC, durations are `_ns`.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from nsdata.appliance import port, worker, writer
from nsdata.appliance.processes import PORT, WRITER, Process
from nsdata.fallback.ledger import Why
from nsdata.path.port import FULL_SHARE
from nsdata.path.status import COUNTERS

if TYPE_CHECKING:
    from nsdata.appliance.supervisor import Supervisor

Words = npt.NDArray[np.uint64]
SENSORS_TOLD = 512


class Tallies:
    """Counters of processes by name, over all their attempts; of what is no counter, the latest."""

    def __init__(self) -> None:
        self._ended: dict[str, Words] = {}

    def gone(self, process: Process) -> None:
        """This attempt counts no more: keep what it counted."""
        at_ns, words = process.page.read()
        if at_ns:
            self._ended[process.name] = self._before(process.name) + words

    def of(self, name: str, process: Process | None) -> tuple[dict[str, int], dict[str, int]]:
        """(all that was counted, what the attempt that runs says), by the role's own words."""
        words = np.zeros(COUNTERS, np.uint64)
        if process is not None:
            at_ns, found = process.page.read()
            words = found if at_ns else words
        names = {PORT: port.FIGURES, WRITER: writer.FIGURES}.get(name, worker.FIGURES)
        total = self._before(name) + words
        return ({key: int(total[i]) for i, key in enumerate(names)},
                {key: int(words[i]) for i, key in enumerate(names)})  # fmt: skip

    def _before(self, name: str) -> Words:
        return self._ended.get(name, np.zeros(COUNTERS, np.uint64))


class Snapshots:
    """Makes them, of one supervisor."""

    def __init__(self, box: Supervisor) -> None:
        self.box = box
        self.tallies = Tallies()
        self.started_ns = time.time_ns()  # since the epoch

    def build(self, now: int) -> dict[str, Any]:
        """What stands at `now`; JSON-ready."""
        box, deciders = self.box, self.box.deciders
        ledger = box.moment().ledger
        reading = deciders.guard.meter.last
        settings = box.settings
        return {
            "at_ns": now,
            "started_ns": self.started_ns,
            "name": settings.name,
            "pid": os.getpid(),
            "state": deciders.state.value,
            "reason": deciders.reason.value,
            "share": deciders.share / FULL_SHARE,
            "received": list(ledger.received),
            "whys": {why.token: list(ledger.why(why)) for why in Why},
            "drops": {
                "ratio": reading.ratio if reading else 0.0,
                "threshold": deciders.guard.meter.threshold,
            },
            "transitions": [[*what, n] for what, n in box.record.transitions.items()],
            "events": dict(box.record.events),
            "health": self._health(),
            "processes": self._processes(now),
            "ring_frames": settings.workers * settings.ring.slots * settings.ring.frames,
            "fpga": box.block.state,
            "lines_lost": box.record.lost,
            "store": {"rows_lost": box.record.store.lost, "failing": bool(box.record.store.error)},
        }

    def _health(self) -> dict[str, Any] | None:
        told = self.box.deciders.health_told
        if not told:
            return None
        keys = ("sensor", "resource", "level", "value", "unit")
        return {
            "score": told["score"],
            "thresholds": told["thresholds"],
            "resources": {one["resource"]: one["level"] for one in told["resources"]},
            "sensors": [{k: one.get(k) for k in keys} for one in told["sensors"][:SENSORS_TOLD]],
        }

    def _processes(self, now: int) -> dict[str, Any]:
        found = {}
        running = self.box.processes.running
        for name, one in self.box.watch.status().items():
            process = running.get(name)
            counted, latest = self.tallies.of(name, process)
            found[name] = {**self.process(one, process, name, now), "counted": counted,
                           "latest": latest}  # fmt: skip
        return found

    def process(
        self, watched: Mapping[str, Any], process: Process | None, name: str, now: int
    ) -> dict[str, Any]:
        """What is known of one process, as its watch has it."""
        limits = self.box.settings.options.watch.limits(name)
        return {
            "phase": watched["phase"],
            "attempt": watched["attempt"],
            "beat_age_ns": None if process is None else max(0, now - process.page.beat_ns),
            "beat_limit_ns": limits.heartbeat_ns,
            "rss_bytes": watched["rss_bytes"],
            "rss_limit_bytes": limits.max_rss_bytes,
        }
