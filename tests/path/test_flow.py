"""The flow table: who belongs together, how long, and what happens when it is full."""

from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nsdata.path.flow import FlowTable, run

SYN, ACK, FIN, RST = 2, 16, 1, 4


def pkt(sport: int = 1000, dport: int = 53, *, back: bool = False, **more: Any) -> dict[str, Any]:
    """A UDP packet from 10.0.0.1:sport to 10.0.0.2:dport, or its answer."""
    a, b = ("10.0.0.1", sport), ("10.0.0.2", dport)
    if back:
        a, b = b, a
    return {"src": a[0], "sport": a[1], "dst": b[0], "dport": b[1], **more}


def test_both_directions_are_one_flow() -> None:
    there, again, answer, after = run(
        [pkt(ts=1, wirelen=70), pkt(ts=2), pkt(back=True, ts=3), pkt(ts=4)], finish=False
    )
    assert there["flow_id"] == again["flow_id"] == answer["flow_id"] == after["flow_id"] != 0
    assert [p["dir"] for p in (there, again, answer, after)] == [0, 0, 1, 0]
    assert [p["established"] for p in (there, again, answer, after)] == [False, False, True, True]
    assert [p["state"] for p in (again, answer)] == ["new", "established"]
    assert after["packets"] == (3, 1)
    assert there["bytes"] == (70, 0)
    assert (after["first"], after["last"]) == (1, 4)


@pytest.mark.parametrize(
    "other",
    [
        {"vlan": [7]}, {"vlan": [7, 8]}, {"layer": 1}, {"proto": 132}, {"sport": 1001},
        {"src": "10.0.0.3"}, {"src": "a00::1", "dst": "a00::2"},
    ],
)  # fmt: skip
def test_the_key_holds_everything(other: dict[str, Any]) -> None:
    one, two = run([pkt(), {**pkt(), **other}], finish=False)
    assert one["flow_id"] != two["flow_id"]


def test_same_endpoint_on_both_sides() -> None:
    loop = {"src": "10.0.0.1", "dst": "10.0.0.1", "sport": 5, "dport": 5}
    one, two = run([loop, loop], finish=False)
    assert one["flow_id"] == two["flow_id"] and two["dir"] == 0


@pytest.mark.parametrize(
    "packet",
    [{"ip_version": 0}, {"flags": 1}, {"flags": 1 << 6}, {"proto": 47}, {"proto": 58}],
)
def test_what_has_no_flow(packet: dict[str, Any]) -> None:
    (out,) = run([{**pkt(), **packet}], finish=False)
    assert out["flow_id"] == 0 and out["ended"] == []


def test_icmp_echo_pairs_by_type_and_identifier() -> None:
    ask = {"proto": 1, "icmp_type": 8, "icmp_id": 77}
    answer = {"proto": 1, "icmp_type": 0, "icmp_id": 77, "src": "10.0.0.2", "dst": "10.0.0.1"}
    one, two, three = run([ask, answer, {**ask, "icmp_id": 78}], finish=False)
    assert one["flow_id"] == two["flow_id"] != three["flow_id"]
    assert (two["dir"], two["established"]) == (1, True)
    ask6 = {"proto": 58, "icmp_type": 128, "icmp_id": 1, "src": "::1", "dst": "::2"}
    answer6 = {"proto": 58, "icmp_type": 129, "icmp_id": 1, "src": "::2", "dst": "::1"}
    one, two = run([ask6, answer6], finish=False)
    assert one["flow_id"] == two["flow_id"]


def test_icmp_error_joins_the_flow_it_quotes_and_is_no_answer() -> None:
    error = {
        "proto": 1, "icmp_type": 3, "icmp_code": 3, "src": "10.0.0.9", "dst": "10.0.0.1",
        "quoted": ("10.0.0.1", "10.0.0.2", 17, 1000, 53),
    }  # fmt: skip
    one, two, three = run([pkt(), error, pkt()], finish=False)
    assert two["flow_id"] == one["flow_id"] and two["dir"] == 1
    assert not three["established"]
    alone, _ = run([error, pkt()], finish=False)
    assert alone["flow_id"] != 0 and alone["packets"] == (1, 0)


def test_time_outs_per_class() -> None:
    table = FlowTable()
    run([pkt(ts=0), pkt(2000, ts=0), pkt(2000, back=True, ts=0)], table, finish=False)
    assert run([pkt(9, ts=29.9)], table, finish=False)[0]["ended"] == []
    assert len(run([pkt(9, ts=30)], table, finish=False)[0]["ended"]) == 1
    # its own keeps alive the flow of port 9; the answered one of port 2000 goes at 300 s
    assert run([pkt(9, ts=59)], table, finish=False)[0]["ended"] == []
    out = run([pkt(8, ts=301)], table, finish=False)[0]["ended"]
    assert [cause for _, cause in out] == ["timeout", "timeout"]
    assert table.stats()["timed_out"] == 3


def test_tcp_state_moves_the_flow_to_its_class_at_once() -> None:
    def first(after: dict[str, Any]) -> FlowTable:
        table = FlowTable()
        run([pkt(proto=6, tcp_flags=SYN, ts=0, set=after)], table, finish=False)
        return table

    def ended(table: FlowTable, ts: float) -> int:
        return len(run([pkt(1, ts=ts)], table, finish=False)[0]["ended"])

    assert ended(first({"state": 2, "tcp_state": 3}), 61) == 0
    assert ended(first({"state": 2, "tcp_state": 3}), 600) == 1
    assert ended(first({"state": 3, "tcp_state": 10}), 60) == 1
    assert ended(first({"flags": 1 << 3}), 61) == 0  # bypassed
    assert ended(first({"flags": 1 << 3}), 100) == 1


def test_timeouts_are_settable_and_checked() -> None:
    table = FlowTable(timeouts={"udp": {"new": 5}})
    out = run([pkt(ts=0), pkt(2, ts=5)], table, finish=False)
    assert len(out[1]["ended"]) == 1
    with pytest.raises(ValueError, match=r"udp\.new"):
        FlowTable(timeouts={"udp": {"new": 0}})
    with pytest.raises(KeyError):
        FlowTable(timeouts={"udp": {"closed": 1}})
    with pytest.raises(ValueError, match="max_flows"):
        FlowTable(max_flows=0)


def test_time_going_backwards_is_harmless() -> None:
    table = FlowTable()
    out = run([pkt(ts=1000), pkt(ts=5), pkt(2, ts=1), pkt(ts=1029)], table, finish=False)
    assert [len(p["ended"]) for p in out] == [0, 0, 0, 0]
    assert run([pkt(ts=1030)], table, finish=False)[0]["ended"] == [(out[2]["flow_id"], "timeout")]
    assert out[0]["flow_id"] == out[3]["flow_id"]
    assert out[1]["last"] == 1000


def test_full_table_gives_the_flow_nearest_to_its_end() -> None:
    table = FlowTable(max_flows=2)
    out = run([pkt(1, ts=0), pkt(2, ts=1), pkt(1, ts=2), pkt(3, ts=3)], table, finish=False)
    assert out[3]["ended"] == [(out[1]["flow_id"], "evicted")]
    out = run([pkt(4, ts=4)], table, evict=True, finish=False)
    assert table.stats()["active"] == 2
    assert run([pkt(9)], FlowTable(max_flows=1), evict=False, finish=False)[0]["flow_id"] != 0
    full = FlowTable(max_flows=1)
    assert run([pkt(9), pkt(8)], full, evict=False, finish=False)[1]["flow_id"] == 0
    assert full.stats()["refused"] == 1


def test_a_new_syn_takes_a_finished_tuple_over() -> None:
    syn = pkt(proto=6, tcp_flags=SYN, seq=100)
    done = {**syn, "set": {"state": 3, "tcp_state": 10, "isn": 100}}
    one, two = run([done, {**syn, "seq": 5000}], finish=False)
    assert two["ended"] == [(one["flow_id"], "reused")]
    assert two["flow_id"] != one["flow_id"] and two["packets"] == (1, 0)
    one, two = run([done, pkt(proto=6, tcp_flags=ACK)], finish=False)
    assert two["flow_id"] == one["flow_id"]
    live = {**syn, "set": {"state": 2, "tcp_state": 3}}
    one, two = run([live, syn], finish=False)
    assert two["flow_id"] == one["flow_id"] and two["packets"] == (2, 0)


def test_seed_decides_ids_and_the_same_seed_repeats_them() -> None:
    packets = [pkt(port) for port in range(50)]
    ids = [[p["flow_id"] for p in run(packets, FlowTable(seed=s))] for s in (1, 1, 2)]
    assert ids[0] == ids[1] != ids[2]
    assert len(set(ids[0])) == 51 and all(0 <= i < 1 << 53 for i in ids[0])


def test_shutdown_is_in_the_order_of_creation() -> None:
    out = run([pkt(port, ts=port) for port in (5, 3, 9)] + [pkt(5, ts=10)])
    assert out[-1]["ended"] == [(p["flow_id"], "shutdown") for p in out[:3]]


def test_many_flows_over_several_slabs_stay_apart() -> None:
    table = FlowTable(max_flows=5000)
    out = run([pkt(port) for port in range(5000)], table, finish=False)
    assert len({p["flow_id"] for p in out}) == len({p["index"] for p in out}) == 5000
    assert table.stats()["active"] == 5000
    back = run([pkt(port, back=True) for port in range(5000)], table)
    assert [p["flow_id"] for p in back[:-1]] == [p["flow_id"] for p in out]
    assert len(back[-1]["ended"]) == 5000
    assert table.stats()["active"] == 0


@given(
    st.lists(
        st.tuples(st.integers(0, 7), st.booleans(), st.integers(0, 400), st.integers(0, 3)),
        max_size=120,
    ),
    st.integers(1, 6),
    st.integers(0, 3),
)
def test_flows_against_a_model(
    steps: list[tuple[int, bool, int, int]], cap: int, seed: int
) -> None:
    """Whatever comes, each flow ends once, counters add up and ids match a plain dict."""
    table = FlowTable(max_flows=cap, seed=seed)
    packets = [
        pkt(port, back=back, ts=ts, set={"state": state} if state else {}, proto=6)
        for port, back, ts, state in steps
    ]
    out = run(packets, table)
    live: dict[int, int] = {}
    ended: Counter[int] = Counter()
    for (port, *_), result in zip(steps, out, strict=False):
        for flow_id, _ in result["ended"]:
            ended[flow_id] += 1
            live = {p: i for p, i in live.items() if i != flow_id}
        assert live.setdefault(port, result["flow_id"]) == result["flow_id"]
        assert len(live) <= cap
    assert {i for i, _ in out[-1]["ended"]} == set(live.values())
    assert all(n == 1 for n in ended.values())
    stats = table.stats()
    assert stats["active"] == 0
    assert stats["created"] == sum(stats[k] for k in ("timed_out", "evicted", "shutdown", "reused"))
