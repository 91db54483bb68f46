"""A worker's rules: what they cost is told, everything once; those that are off are as ordered."""

from typing import Any

import pytest
import traffic
from engines import Run
from hypothesis import given, settings
from hypothesis import strategies as st

from nsdata.appliance import worker
from nsdata.appliance.worker import RunningRules

RULES = "\n".join(
    f'alert udp any any -> any {7 + i % 2} (content:"a"; sid:{i + 1}; gid:{g};)'
    for i in range(7) for g in ((1, 2) if i == 3 else (1,))
)  # fmt: skip


class Ear:
    """Takes so many messages."""

    def __init__(self) -> None:
        self.room = 0
        self.told: list[dict[int, list[int]]] = []

    def tell(self, what: str, **members: Any) -> bool:
        assert what == "costs"
        if self.room == len(self.told):
            return False
        self.told.append(members["by_rule"])
        return True


def total(ear: Ear, at: int) -> dict[int, int]:
    found: dict[int, int] = {}
    for message in ear.told:
        for sid, cost in message.items():
            found[sid] = found.get(sid, 0) + cost[at]
    return {sid: found[sid] for sid in sorted(found)}


def test_all_of_it_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "RULES_TOLD", 3)  # of a message
    run, ear = Run(RULES), Ear()
    spent = RunningRules(run.engine, run.rules.sids)
    run.feed([traffic.udp(b"a", dport=7)] * 5)
    spent.tell(ear)  # type: ignore[arg-type]
    assert not ear.told
    ear.room = 1
    spent.tell(ear)  # type: ignore[arg-type]
    assert len(ear.told) == 1 and len(ear.told[0]) <= 3
    run.feed([traffic.udp(b"a", dport=8)] * 2)
    ear.room = 99
    for _ in range(3):
        spent.tell(ear)  # type: ignore[arg-type]
    assert all(len(message) <= 3 for message in ear.told)
    # sid 4 is that of two rules
    assert total(ear, 0) == {1: 5, 2: 2, 3: 5, 4: 4, 5: 5, 6: 2, 7: 5}
    assert total(ear, 1) == total(ear, 3) == total(ear, 0)  # each matched, so each was verified
    said = len(ear.told)
    spent.tell(ear)  # type: ignore[arg-type]
    assert len(ear.told) == said


@settings(max_examples=50, deadline=None)
@given(st.lists(st.one_of(st.none(), st.sets(st.integers(1, 9))), max_size=8))
def test_the_last_order_holds_until_rules_are_loaded(orders: list[set[int] | None]) -> None:
    """None: the rules are loaded anew. An order may name rules that there are not."""
    run = Run(RULES)
    rules, off = RunningRules(run.engine, run.rules.sids), set()
    both = [traffic.udp(b"a", dport=port) for port in (7, 8)]
    for order in orders:
        if order is None:
            run.engine.swap_rules(run.rules.base, run.rules.numbers)
            rules, off = RunningRules(run.engine, run.rules.sids), set()
        else:
            rules.disable(order)
            off = order
        before = run.fired()
        run.feed(both)
        assert (run.fired() - before).keys() == set(range(1, 8)) - off
