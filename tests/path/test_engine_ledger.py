"""engine: received = inspected + bypassed + blocked + lost, whatever happens in between.

RUNS random runs: frames of every kind in any order, capacity, inline or not, bypass rules,
fallback entered and left, rules swapped, hardware verdicts of every kind, batches cut, stops at
times and frames. Random
bytes are the plan of a run, so that a failing one shrinks to a few bytes.
"""

import numpy as np
import pytest
import traffic
from engines import loaded, process
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from traffic import ACK, SYN, Talk

from nsdata.bypass_table import to_array
from nsdata.fallback.bypass_rules import BypassRule, BypassRules
from nsdata.fallback.ledger import LedgerSnapshot, Why
from nsdata.path.engine import Engine
from nsdata.verdict import Verdict

RUNS = 10_000

RULES = [
    loaded(text)
    for text in (
        """
        drop udp any any -> any 53 (content:"drop"; sid:1;)
        reject udp any any -> any any (content:"reject"; sid:2;)
        drop ip 10.0.0.66 any -> any any (sid:3;)
        alert tcp any any -> any any (flow:established; content:"foobar"; bypass; sid:4;)
        drop tcp any any -> any any (flow:established; content:"evil"; sid:5;)
        pass udp 10.0.0.77 any -> any any (sid:6;)
        """,
        'alert ip any any -> any any (ttl:>0; sid:7;)\n'
        'drop pkthdr any any -> any any (decode-event:ipv4.iplen_smaller_than_hlen; sid:8;)',
        "",
    )
]  # fmt: skip


def pool() -> list[bytes]:
    """The frames runs are made of."""
    talk = Talk().open().client(b"foo", b"bar").server(b"ev", b"il").close()
    other = Talk(src="10.0.0.66", sport=7).open().client(b"x")
    datagram = traffic.ip(17, traffic.udp_datagram(b"drop" * 20, "10.0.0.1", "10.0.0.2"))
    inner = traffic.ip(6, traffic.tcp_segment(b"", SYN))
    return [
        *talk.frames,
        *other.frames,
        traffic.tcp(b"midstream", ACK, sport=99),
        *traffic.fragments(datagram, 32),
        *[traffic.udp(text, dport=53) for text in (b"drop", b"reject", b"calm")],
        traffic.udp(b"x", "10.0.0.77"),
        *[traffic.udp(b"many", sport=n) for n in range(2000, 2010)],
        traffic.udp(b"v", vlans=(5,)),
        traffic.udp(b"six", "fd00::1", "fd00::2"),
        traffic.icmp(),
        traffic.icmp(3, 3, traffic.udp(b"many")[14:]),
        traffic.frame(traffic.ip(4, inner)),
        traffic.udp(b"\x08\0\0\0\0\0\5\0" + traffic.udp(b"drop", dport=53), dport=4789),
        traffic.eth(0x0806, b"\0\1\x08\0\6\4\0\1" + bytes(20)),
        traffic.eth(0x88CC, b"lldp"),
        traffic.frame(b"\x45\0\0\x10" + bytes(16)),
        traffic.udp(b"cut")[:30],
        b"\x02",
        b"",
    ]


POOL = traffic.batch(pool())
FRAMES = len(POOL)
BYPASS = [
    to_array(BypassRules(rules))
    for rules in (
        (),
        (BypassRule(id=1, vlan=5), BypassRule(id=2, protocol="icmp", action="block")),
        (BypassRule(id=3, ethertype="not-ip", action="block"), BypassRule(id=4, dst="fd00::/8")),
    )
]  # fmt: skip
FALLBACK_ON, FALLBACK_OFF, SWAP, BYPASSES, CUT, LATER, STOP = range(249, 256)


class LedgerRun:
    """One run: an engine and what was fed to it."""

    def __init__(self, head: bytes) -> None:
        options, capacity, queue = head
        self.fed = 0
        self.fed_bytes = 0
        self.now_ns = traffic.START_NS
        self.judged = queue & 1  # the hardware says anything at all, nonsense too
        rules = RULES[options % 3]
        self.inline = bool(options & 4)
        self.engine = Engine(
            rules.base,
            rules.numbers,
            inline=self.inline,
            checksums=bool(options & 8),
            drop_log_start=bool(options & 16),
            policies={1: 2} if options & 32 else None,
            capacity_pps=[0, 0, 50, 500, 5000][capacity % 5],
            queue=queue,
            bypass=BYPASS[options >> 6] if options >> 6 < 3 else None,
            flow={"max_flows": 1 + capacity % 64},
            stream={"memcap": [1 << 20, 2000][options >> 5 & 1], "inline": self.inline},
            defrag={"max_trackers": 2, "memcap": 1 << 16, "max_fragments": 8},
            seed=queue,
        )  # fmt: skip

    def check(self) -> None:
        packets, size, why_packets, why_bytes = self.engine.counts()
        assert packets == self.fed == sum(why_packets)
        assert size == self.fed_bytes == sum(why_bytes)

    def settle(self) -> None:
        """End the flows; the ledger, the verdicts and the modes must agree."""
        while not self.engine.end_flows():
            self.engine.drain()
        self.check()
        packets, size, why_packets, why_bytes = self.engine.counts()
        snapshot = LedgerSnapshot.from_counts(packets, size, why_packets, why_bytes)
        snapshot.check()
        stats = self.engine.stats()
        assert stats["flow"]["active"] == 0
        verdicts = stats["verdicts"]
        assert sum(verdicts) == packets
        lost = verdicts[Verdict.LOST]
        blocked = verdicts[Verdict.DROP] + verdicts[Verdict.DROP_FLOW] + verdicts[Verdict.REJECT]
        assert lost == snapshot.lost.packets and blocked == snapshot.blocked.packets
        assert self.inline or not why_packets[Why.RULE_DROP] + why_packets[Why.FLOW_DROP]

    def frames(self, numbers: list[int], step: int, stop: int) -> None:
        """Feed frames of the pool in calls that stop here and there; check after each."""
        n = len(numbers)
        ts = np.arange(n, dtype=np.uint64) * np.uint64(step) + np.uint64(self.now_ns)
        self.now_ns = int(ts[-1]) + step
        verdict = np.full(n, 255, np.uint8)
        judged = np.array([(k * 5 + stop) % 7 for k in numbers], np.uint8) if self.judged else None
        b = traffic.Batch(POOL.data, POOL.offset[numbers], POOL.caplen[numbers],
                          POOL.wirelen[numbers], ts, POOL.linktype[numbers])  # fmt: skip
        at = 0
        stop_ns, stop_frame = int(ts[min(stop, n - 1)]), self.fed + 1 + stop % (n + 1)
        while at < n:
            limits = {}
            if stop_ns > ts[at]:
                limits["stop_ns"] = stop_ns
            if stop_frame > self.fed + 1:
                limits["stop_frame"] = stop_frame
            after = process(self.engine, b, verdict, at, offload=judged, **limits)
            assert after > at or limits or self.engine.records.view()[0].nbytes
            self.fed += after - at
            self.fed_bytes += int(b.wirelen[at:after].sum())
            if limits.get("stop_frame"):
                assert self.fed < stop_frame
            assert (verdict[:after] <= 5).all() and (verdict[after:] == 255).all()
            at = after
            self.engine.drain()
            self.check()

    def play(self, plan: bytes) -> None:
        waiting: list[int] = []
        step, stop = traffic.MS, len(plan)

        def flush() -> None:
            if waiting:
                self.frames(waiting, step, stop)
                waiting.clear()

        for op in plan:
            if op < FALLBACK_ON:
                waiting.append(op % FRAMES)
                continue
            flush()
            if op in (FALLBACK_ON, FALLBACK_OFF):
                while not self.engine.set_fallback(op == FALLBACK_ON):
                    self.engine.drain()
                self.engine.drain()
            elif op == SWAP:
                rules = RULES[len(plan) % 3]
                self.engine.swap_rules(rules.base, rules.numbers)
            elif op == BYPASSES:
                self.engine.set_bypass(BYPASS[self.fed % 3])
            elif op == LATER:
                step = traffic.SECOND * 40 if step == traffic.MS else traffic.MS
            elif op == STOP:
                stop = 1 + self.fed % 7
            self.check()
        flush()
        self.settle()


played = {"runs": 0, "frames": 0}
seen: set[int] = set()


@settings(
    max_examples=RUNS // 10,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.large_base_example],
)
@given(st.binary(min_size=160, max_size=500))
def test_the_ledger_balances_after_every_call(data: bytes) -> None:
    # ten runs of an example: a tenth of the bytes each
    size = len(data) // 10
    for number in range(10):
        piece = data[number * size : (number + 1) * size]
        run = LedgerRun(piece[:3])
        run.play(piece[3:])
        played["runs"] += 1
        played["frames"] += run.fed
        seen.update(why for why, n in enumerate(run.engine.counts()[2]) if n)


# What an engine never says: a port settles these frames itself (tests/path/test_port.py).
OF_THE_PORT = {Why.WORKER, Why.SHARE, Why.BEST_EFFORT, Why.FALLBACK_BLOCK, Why.PORT}


def test_enough_runs_were_played_and_every_reason_arose() -> None:
    if not played["runs"]:
        pytest.skip("the runs were not selected")
    assert played["runs"] >= RUNS
    assert seen == set(Why) - OF_THE_PORT, set(Why) - seen
