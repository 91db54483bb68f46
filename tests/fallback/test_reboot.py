"""The order of a reboot, and that it always ends: in virtual time, whatever processes do."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nsdata.errors import EngineError
from nsdata.fallback.reboot import SETTLE_NS, Order, Progress, Reboot, Seen, Verb, plan
from nsdata.fallback.watch_process import Phase

GONE_NS = 14_000_000_000
TICK_NS = 100_000_000
ALL = ("worker-0", "worker-1", "writer", "port")


def running(*names: str) -> dict[str, Phase]:
    return dict.fromkeys(names, Phase.RUNNING)


def test_the_order_is_the_one_that_loses_nothing() -> None:
    reboot = Reboot(plan(ALL[:2], "writer", "port"), 0, GONE_NS)
    phases = running(*ALL)
    done: list[Order] = []
    for turn in range(40):
        orders = reboot.look(turn * TICK_NS, Seen(phases, settled=turn > 2))
        assert not orders or turn > 2  # nobody is stopped before everything is permitted
        done += orders
        for order in orders:
            if order.verb is Verb.STOP:
                del phases[order.name]
            else:
                phases[order.name] = Phase.RUNNING
        if reboot.progress is Progress.DONE:
            break
    stop, start = Verb.STOP, Verb.START
    assert done == [
        Order(stop, "worker-0"), Order(stop, "worker-1"), Order(stop, "writer"),
        Order(start, "writer"), Order(start, "worker-0"), Order(start, "worker-1"),
        Order(stop, "port"), Order(start, "port"),
    ]  # fmt: skip
    assert reboot.status() == {
        "state": "done", "step": 5, "of": 5, "what": "port restarts", "error": "",
    }  # fmt: skip
    with pytest.raises(EngineError, match="is over"):
        reboot.look(10**12, Seen(phases, True))


def test_what_workers_hold_is_not_waited_for_without_an_end() -> None:
    reboot = Reboot(plan(["worker-0"], "writer", None), 0, GONE_NS)
    seen = Seen(running("worker-0", "writer", "port"), settled=False)
    assert reboot.look(SETTLE_NS - 1, seen) == []
    assert reboot.look(SETTLE_NS, seen) == [Order(Verb.STOP, "worker-0")]


def test_one_that_does_not_go_ends_it() -> None:
    """It is a process error, those that went are started, nobody else is stopped."""
    reboot = Reboot(plan(ALL[:2], "writer", None), 0, GONE_NS)
    reboot.look(0, Seen(running(*ALL), True))
    stays = Seen({**running("writer", "port"), "worker-1": Phase.KILLED}, True)
    assert reboot.look(GONE_NS - 1, stays) == []
    assert reboot.look(GONE_NS, stays) == [
        Order(Verb.STUCK, "worker-1"), Order(Verb.START, "worker-0"),
    ]  # fmt: skip
    assert reboot.progress is Progress.FAILED
    assert reboot.error == "worker-1 did not go"


def test_a_fault_of_somebody_started_ends_it_and_of_others_does_not() -> None:
    reboot = Reboot(plan(["worker-0"], "writer", None), 0, GONE_NS)
    faults = {"port": "heartbeat error"}
    reboot.look(0, Seen(running("worker-0", "writer", "port"), True, faults))
    reboot.look(1, Seen(running("writer", "port"), True, faults))
    assert reboot.look(2, Seen(running("port"), True, faults)) == [Order(Verb.START, "writer")]
    again = {**running("port"), "writer": Phase.WAITING}
    orders = reboot.look(3, Seen(again, True, {**faults, "writer": "process error"}))
    assert orders == [Order(Verb.START, "worker-0")]
    assert reboot.error == "writer: process error"


@given(st.data(), st.integers(1, 3), st.booleans())
def test_it_ends_whatever_processes_do(data: st.DataObject, workers: int, port: bool) -> None:
    """And when it has, everybody is watched; a process is started only when it is gone."""
    names = [f"worker-{i}" for i in range(workers)]
    reboot = Reboot(plan(names, "writer", "port" if port else None), 0, GONE_NS)
    phases = running(*names, "writer", "port")
    faults: dict[str, str] = {}
    stopping: dict[str, int] = {}  # gone at
    starting: dict[str, int] = {}  # ready at, or a fault then
    for turn in range(2000):
        now = turn * TICK_NS
        for name in [n for n, at in stopping.items() if at <= now]:
            del stopping[name], phases[name]
        for name in [n for n, at in starting.items() if at <= now]:
            del starting[name]
            if data.draw(st.booleans(), "comes back"):
                phases[name] = Phase.RUNNING
            else:
                faults[name] = "process error"
        for order in reboot.look(now, Seen(dict(phases), data.draw(st.booleans()), faults)):
            if order.verb is Verb.STOP:
                assert phases[order.name] is Phase.RUNNING
                phases[order.name] = Phase.STOPPING
                stopping[order.name] = now + data.draw(st.integers(0, 2 * GONE_NS), "goes after")
            elif order.verb is Verb.START:
                assert order.name not in phases
                phases[order.name] = Phase.STARTING
                starting[order.name] = now + data.draw(st.integers(0, 60 * 10**9), "ready after")
        if reboot.progress is not Progress.RUNNING:
            break
    assert reboot.progress is not Progress.RUNNING
    assert phases.keys() == {*names, "writer", "port"}
    assert (reboot.progress is Progress.FAILED) == bool(reboot.error)
    if reboot.progress is Progress.DONE:
        assert all(phase is Phase.RUNNING for phase in phases.values())
