"""nsd_ports: ranges, protocols, edges, and a key in every cycle. The golden model judges."""

import random
from collections.abc import Iterable, Sequence
from typing import Any

import cocotb
from cocotb.triggers import RisingEdge

from nsdata.offload.entry import PORT_RANGES, FlowKey, Parse, PortRange
from nsdata.offload.model import ports_hit
from sim.runner import simulate
from sim.tb import TB

LATENCY = 4  # PORTS_LATENCY
RANGE_BITS = 35
PROTOCOLS = (6, 17, 1, 58)


class PortsTB(TB):
    """Gives one key per period and judges its result in the very period it is due."""

    def __init__(self, dut: Any) -> None:
        super().__init__(dut)
        self.ranges: Sequence[PortRange] = ()
        self.due: dict[int, tuple[FlowKey, bool]] = {}
        self.now = 0
        self.hits = 0
        self.judged = 0
        dut.key_valid.value = 0
        dut.cfg_ranges.value = 0

    async def start(self) -> None:
        """Leave reset behind."""
        await self.reset()
        self.now = 0
        await self.flush()

    async def configure(self, ranges: Sequence[PortRange]) -> None:
        """Set the ranges, first one lowest, once every earlier key was judged."""
        await self.flush()
        assert len(ranges) <= PORT_RANGES
        self.ranges = ranges
        words = (one.pack() << RANGE_BITS * i for i, one in enumerate(ranges))
        self.dut.cfg_ranges.value = sum(words)

    async def _edge(self) -> None:
        await RisingEdge(self.clk)
        now, dut = self.now, self.dut
        self.now += 1
        assert int(dut.ports_valid.value) == (now in self.due), f"ports_valid in period {now}"
        if now in self.due:
            key, want = self.due.pop(now)
            got = bool(dut.ports_hit.value)
            assert got == want, f"{key}: {got} with {self.ranges}"
            self.hits += got
            self.judged += 1

    async def give(self, key: FlowKey, parse: Parse = Parse.OK, want: bool | None = None) -> None:
        """One key; the golden model says what it must give, unless `want` does."""
        dut = self.dut
        model = parse == Parse.OK and ports_hit(key.pack(), self.ranges)
        assert want in (None, model)
        dut.key_valid.value = 1
        dut.key.value = key.pack()
        dut.key_parse.value = int(parse)
        self.due[self.now + LATENCY] = (key, model)
        await self._edge()

    async def idle(self, periods: int = 1) -> None:
        """No key, but noise where it would be."""
        for _ in range(periods):
            self.dut.key_valid.value = 0
            self.dut.key.value = self.rng.getrandbits(len(self.dut.key))
            await self._edge()

    async def flush(self) -> None:
        """Idle until everything was judged."""
        await self.idle(LATENCY + 1)
        assert not self.due


async def ready(dut: Any) -> PortsTB:
    """A testbench behind its reset."""
    tb = PortsTB(dut)
    await tb.start()
    return tb


def key_of(proto: int, sport: int, dport: int, rng: random.Random) -> FlowKey:
    """A key of these ports, everything else random."""
    return FlowKey(
        int(proto == 58), rng.randrange(3), rng.getrandbits(12), rng.getrandbits(12), proto,
        rng.getrandbits(128), rng.getrandbits(128), sport, dport,
    )  # fmt: skip


def edges(ranges: Iterable[PortRange]) -> list[int]:
    """Ports on, just inside and just outside every edge."""
    near = {0, 65535}
    for one in ranges:
        for edge in (one.low, one.high):
            near |= {edge - 1, edge, edge + 1, edge ^ 0x8000, edge ^ 0x100}
    return sorted(port for port in near if 0 <= port <= 65535)


@cocotb.test()
async def by_hand(dut: Any) -> None:
    """What a range means, without the model's help."""
    tb = await ready(dut)
    await tb.configure([PortRange(80, 90, tcp=True), PortRange(53, 53, udp=True)])
    for proto, sport, dport, want in (
        (6, 80, 9, True), (6, 9, 90, True), (6, 79, 91, False), (6, 91, 79, False),
        (17, 85, 85, False), (17, 9, 53, True), (17, 53, 9, True), (6, 53, 53, False),
        (1, 0, 0, False), (58, 85, 53, False),
    ):  # fmt: skip
        await tb.give(key_of(proto, sport, dport, tb.rng), want=want)
    await tb.configure([PortRange(icmp=True)])
    for proto, want in ((1, True), (58, True), (6, False), (17, False)):
        await tb.give(key_of(proto, 0, 0, tb.rng), want=want)
    await tb.configure([PortRange(0, 65535)])  # no protocol: unused
    for proto in PROTOCOLS:
        await tb.give(key_of(proto, 1, 2, tb.rng), want=False)
    await tb.flush()


@cocotb.test()
async def every_range_alone(dut: Any) -> None:
    """Each of the sixteen, with each protocol bit, at its edges."""
    tb = await ready(dut)
    for index in range(PORT_RANGES):
        low = tb.rng.randrange(65000)
        for bit in ("tcp", "udp", "icmp"):
            one = PortRange(low, tb.rng.randrange(low, 65536), **{bit: True})
            await tb.configure([PortRange()] * index + [one])
            for port in edges([one]):
                for proto in (*PROTOCOLS, 0, 2, 7, 16, 49, 59):
                    await tb.give(key_of(proto, port, low ^ 0xFFFF, tb.rng))
                    await tb.give(key_of(proto, low ^ 0xFFFF, port, tb.rng))
    await tb.flush()
    assert 0 < tb.hits < tb.judged


@cocotb.test()
async def random_ranges(dut: Any) -> None:
    """Sixteen ranges at once, legal, empty (low above high) and whole; keys back to back."""
    tb = await ready(dut)
    for _ in range(30):
        ranges = []
        for _ in range(PORT_RANGES):
            low, high = tb.rng.getrandbits(16), tb.rng.getrandbits(16)
            if tb.rng.random() < 0.6:
                high = min(65535, low + tb.rng.randrange(50))
            bits = [tb.rng.random() < 0.3 for _ in range(3)]
            ranges.append(PortRange(low, high, *bits))
        ranges[0] = tb.rng.choice((PortRange(0, 65535), ranges[0]))
        await tb.configure(ranges)
        ports = edges(ranges)
        for _ in range(150):
            proto = tb.rng.choice(PROTOCOLS)
            await tb.give(key_of(proto, tb.rng.choice(ports), tb.rng.choice(ports), tb.rng))
            if tb.rng.random() < 0.1:
                await tb.idle(tb.rng.randrange(4))
    await tb.flush()
    assert 0 < tb.hits < tb.judged


@cocotb.test()
async def only_parsed_frames_hit(dut: Any) -> None:
    tb = await ready(dut)
    await tb.configure([PortRange(0, 65535, tcp=True, udp=True, icmp=True)])
    for parse in Parse:
        for proto in PROTOCOLS:
            await tb.give(key_of(proto, 1, 2, tb.rng), parse, want=parse == Parse.OK)
    await tb.flush()


@cocotb.test()
async def reset_forgets(dut: Any) -> None:
    """Keys under way at a reset give no result."""
    tb = await ready(dut)
    await tb.configure([PortRange(0, 65535, tcp=True)])
    for under_way in range(1, LATENCY + 1):
        for _ in range(under_way):
            await tb.give(key_of(6, 1, 2, tb.rng))
        dut.key_valid.value = 0
        tb.rst.value = 1
        await RisingEdge(tb.clk)
        tb.rst.value = 0
        tb.due.clear()
        await tb.flush()
    await tb.give(key_of(6, 1, 2, tb.rng), want=True)
    await tb.flush()


def test_ports() -> None:
    simulate("nsd_ports", __name__)
