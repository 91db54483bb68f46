from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nsdata.errors import LedgerError
from nsdata.fallback.ledger import Count, Fate, LedgerSnapshot, Why

PACKET_PXD = Path(__file__).parents[2] / "nsdata" / "path" / "packet.pxd"
counts = st.lists(st.integers(0, 10**12), min_size=len(Why), max_size=len(Why))


def c_enum(name: str) -> dict[str, int]:
    """Members of a C enum of packet.pxd, in the text as it stands."""
    body = re.search(rf"^cdef enum {name}:\n((?:    .*\n)+)", PACKET_PXD.read_text(), re.M)
    assert body, name
    return {
        member: int(value)
        for member, value in re.findall(r"^    (\w+) = (\d+)", body.group(1), re.M)
    }


def test_numbers_are_those_of_the_c_enums() -> None:
    fates, whys = c_enum("Fate"), c_enum("Why")
    assert fates.pop("FATE_COUNT") == len(Fate)
    assert whys.pop("WHY_COUNT") == len(Why)
    assert fates == {f"FATE_{fate.name}": fate.value for fate in Fate}
    assert whys == {f"WHY_{why.name}": why.value for why in Why}


def test_each_why_has_the_fate_its_comment_in_c_says() -> None:
    text = PACKET_PXD.read_text()
    for why in Why:
        if why is Why.INSPECTED:
            continue
        said = re.search(rf"WHY_{why.name} = \d+\s+# (\w+):", text)
        assert said and said.group(1) == why.fate.token


@given(counts, counts)
def test_balanced_ledger_checks_and_adds_up(packets: list[int], nbytes: list[int]) -> None:
    snapshot = LedgerSnapshot.from_counts(sum(packets), sum(nbytes), packets, nbytes)
    snapshot.check()
    assert sum(count.packets for count in snapshot.by_fate) == sum(packets)
    assert snapshot.dropped == snapshot.blocked + snapshot.lost
    assert snapshot.difference(snapshot) == LedgerSnapshot.empty()
    assert snapshot.difference(LedgerSnapshot.empty()) == snapshot


@given(counts, counts, st.integers(-(10**6), 10**6).filter(bool), st.booleans())
def test_any_surplus_or_shortage_is_found(
    packets: list[int], nbytes: list[int], off: int, in_bytes: bool
) -> None:
    came, size = sum(packets), sum(nbytes)
    snapshot = LedgerSnapshot.from_counts(
        came + (0 if in_bytes else off), size + (off if in_bytes else 0), packets, nbytes
    )
    with pytest.raises(LedgerError, match=re.escape(f"({off:+d})")):
        snapshot.check()


def test_fault_in_the_reasons_is_found_and_figures_are_named() -> None:
    packets = list(range(1, len(Why) + 1))
    snapshot = LedgerSnapshot.from_counts(sum(packets), sum(packets), packets, packets)
    by_fate = list(snapshot.by_fate)
    by_fate[Fate.BLOCKED] += Count(1, 0)
    by_fate[Fate.LOST] += Count(-1, 0)
    with pytest.raises(LedgerError) as fault:
        replace(snapshot, by_fate=tuple(by_fate)).check()
    blocked = snapshot.blocked.packets
    told = f"blocked {blocked + 1} packets ≠ {blocked} by its reasons"
    assert told in str(fault.value)
    assert "flow_drop 9/9" in str(fault.value)


def test_each_figure_is_named_once() -> None:
    packets = list(range(1, len(Why) + 1))
    line = LedgerSnapshot.from_counts(sum(packets), sum(packets), packets, packets).figures()
    names = [part.split()[0] for part in line.split(", ")]
    assert len(names) == len(set(names)) == 1 + len(Fate) + len(Why) - 1


def test_counter_that_runs_back_and_wrong_length() -> None:
    rest = [0] * (len(Why) - 1)
    later = LedgerSnapshot.from_counts(1, 60, [1, *rest], [60, *rest])
    with pytest.raises(LedgerError, match="backwards"):
        LedgerSnapshot.empty().difference(later)
    with pytest.raises(LedgerError, match="do not match"):
        LedgerSnapshot.from_counts(1, 1, [1] * 5, [1] * 5)


def test_as_dict_names_every_reason_once() -> None:
    entry = LedgerSnapshot.empty().as_dict()
    reasons = [why for fate in Fate for why in entry[fate.token]["reasons"]]
    assert sorted(reasons) == sorted(why.token for why in Why)
