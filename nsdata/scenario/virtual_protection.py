"""What the protections of a virtual box are decided by, and how its workers carry them out.

Costs are packets that rules were checked against. What rules took in nanoseconds is of the wall
clock, and no part of virtual time.
"""

from __future__ import annotations

from collections.abc import Iterable

from nsdata.appliance.worker import RunningRules
from nsdata.fallback.deciders import Measures
from nsdata.fallback.exposure import DEFAULT_SEGMENT
from nsdata.fallback.ledger import Count
from nsdata.fallback.protection import RuleCost
from nsdata.path.port import Port
from nsdata.scenario.virtual_worker import Worker

SEGMENTS = (DEFAULT_SEGMENT,)


class Protected:
    """Cumulative over all workers and ports there were."""

    def __init__(self) -> None:
        self._rules: dict[int, RunningRules] = {}  # by the pid of a worker
        self._costs: dict[int, RuleCost] = {}  # of workers that ended, by sid
        self._counts = (0, 0, 0)  # likewise: alerts left out, packets and bytes verified
        self._permitted = 0  # bytes of ports that ended

    def act(self, worker: Worker, suspended: bool, disabled: Iterable[int]) -> None:
        """The worker acts by what is decided."""
        if worker.pipeline is not None:
            worker.pipeline.engine.suspend_alerts(suspended)
            if worker.pid not in self._rules:
                self.loaded(worker)
            self._rules[worker.pid].disable(disabled)

    def loaded(self, worker: Worker) -> None:
        """It has begun with these rules, all of them on."""
        if worker.pipeline is not None:
            self._rules[worker.pid] = RunningRules(worker.pipeline.engine, worker.sids)

    def reloaded(self) -> None:
        """Costs are those of other rules from now on."""
        self._costs = {}

    def gone(self, worker: Worker) -> None:
        """What a worker that ended had counted stands."""
        self._rules.pop(worker.pid, None)
        self._costs = _costs(self._costs, worker)
        self._counts = _counts(self._counts, worker)

    def port_gone(self, port: Port) -> None:
        """The same of a port."""
        self._permitted += port.exposure()[0][1]

    def measures(self, workers: Iterable[Worker], port: Port | None) -> Measures:
        """Up to now."""
        costs, counts = self._costs, self._counts
        for worker in workers:
            costs, counts = _costs(costs, worker), _counts(counts, worker)
        permitted = self._permitted + (port.exposure()[0][1] if port is not None else 0)
        return Measures(
            costs, counts[0], Count(*counts[1:]), {DEFAULT_SEGMENT: permitted},
            port.missing if port is not None else 0,
        )  # fmt: skip


def _costs(before: dict[int, RuleCost], worker: Worker) -> dict[int, RuleCost]:
    if worker.pipeline is None:
        return before
    engine = worker.pipeline.engine
    checked, matched = engine.rule_costs()["checked"], engine.rule_counts()["matched"]
    found = dict(before)
    for number in checked.nonzero()[0].tolist():
        sid = worker.sids[number]
        one = found.get(sid, RuleCost())
        found[sid] = one._replace(
            checked=one.checked + int(checked[number]), matches=one.matches + int(matched[number])
        )
    return found


def _counts(before: tuple[int, int, int], worker: Worker) -> tuple[int, int, int]:
    if worker.pipeline is None:
        return before
    left_out, packets, nbytes = worker.pipeline.engine.protection_counts()
    return before[0] + left_out, before[1] + packets, before[2] + nbytes
