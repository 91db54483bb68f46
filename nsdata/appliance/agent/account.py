"""What an appliance says of itself to its manager: the command `account` of the control socket."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from nsdata import __version__
from nsdata.fallback.reasons import State
from nsdata.fallback.reasons import about as told_of
from nsdata.path.port import FULL_SHARE

if TYPE_CHECKING:
    from nsdata.appliance.supervisor import Supervisor

TOP_RULES = 20
_STARTED_NS = time.time_ns()  # of this process: its counters began at 0 then


def account(box: Supervisor) -> dict[str, Any]:
    """An `nsdata.appliance.protocol.Report` but for its sequence; JSON-ready."""
    deciders = box.deciders
    moment = box.moment()
    controller, meter = deciders.guard.controller, deciders.guard.meter
    about = told_of(deciders.reason, deciders.state)
    drops = sorted(moment.drops_by_rule.items(), key=lambda one: (-one[1], one[0]))[:TOP_RULES]
    return {
        "at_ns": time.time_ns(),
        "name": box.settings.name,
        "version": __version__,
        "started_ns": _STARTED_NS,
        "state": deciders.state.value,
        "reason": deciders.reason.value,
        "severity": about.severity.value,
        "cause": about.cause,
        "resolution": about.resolution,
        "since_ns": _wall(controller.since_ns, moment.now_ns),
        "recheck": controller.recheck() if deciders.state is State.FALLBACK else None,
        "ledger": moment.ledger.as_dict(),
        "drop_ratio": meter.last.ratio if meter.last else 0.0,
        "drop_threshold": meter.threshold,
        "health": deciders.health_told,
        "tiers": deciders.tiers.as_dict(),
        "top_rules": [{"sid": sid, "dropped_packets": packets} for sid, packets in drops],
        "processes": deciders.watch.status(),
        "support": {"vendor": box.reports.vendor(), "allow": list(box.settings.support.allow)},
        "reentry": {
            **deciders.reentry.status(),
            "share": deciders.share / FULL_SHARE if deciders.state is State.NORMAL else 0.0,
        },
        "fpga": box.block.told(),
    }


def _wall(at_ns: int | None, now_ns: int) -> int | None:
    """An instant of the deciders' clock, since the epoch."""
    return None if at_ns is None else time.time_ns() - (now_ns - at_ns)
