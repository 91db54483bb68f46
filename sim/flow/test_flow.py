"""nsd_flow against a Python table: every result in its cycle, whatever the host does meanwhile."""

import cocotb
import pytest

from nsdata.offload import model
from nsdata.offload.entry import KEY_BITS, FlowEntry
from sim.flow.bench import BLOCK, BYPASS, LATENCY, NONE, WORDS, Bench, entry, key_set
from sim.runner import simulate


@cocotb.test()
async def inserted_flows_hit_one_a_cycle(dut):
    tb = Bench(dut)
    await tb.start()
    golden = model.Model(tb.sets_log2)
    keys = [tb.random_key() for _ in range(min(40, tb.sets))]
    for i, key in enumerate(keys):
        addr = 2 * key_set(key, tb.sets_log2) + i % 2
        assert addr >> 1 == model.flow_set(key, tb.sets_log2)
        value = entry(key, tb.rng.choice((BYPASS, BLOCK)))
        await tb.write(addr, value)
        golden.write(addr, [value >> 64 * w & (1 << 64) - 1 for w in range(WORDS)])
        assert await tb.read(addr) == value
    held = {FlowEntry.unpack(v).key.pack(): FlowEntry.unpack(v).action
            for v in tb.table.held.values()}  # fmt: skip
    asked = keys + [tb.random_key() for _ in range(40)]
    assert [golden.lookup(k) for k in asked] == [held.get(k, NONE) for k in asked]
    assert golden.signature() == tb.table.sig == int(dut.sig.value)
    tb.rng.shuffle(asked)
    await tb.ask(asked * 4)
    assert tb.answers[BYPASS] + tb.answers[BLOCK] >= 4 * len(held)
    tb.keys.extend((key, 0) for key in keys)  # not to be looked up
    hits = dict(tb.answers)
    await tb.wait(len(keys) + 20)
    assert {**tb.answers, NONE: 0} == {**hits, NONE: 0}
    await tb.pass_end()
    tb.quiet()


@cocotb.test()
async def a_key_one_bit_off_misses(dut):
    """The other key is put where the asked one hashes to: only the comparison can tell."""
    tb = Bench(dut)
    await tb.start()
    asked = tb.random_key()
    addr = 2 * key_set(asked, tb.sets_log2)
    for bit in range(KEY_BITS):
        way = bit & 1
        await tb.write(addr + way, entry(asked ^ 1 << bit))
        await tb.write(addr + 1 - way, 0)
        tb.keys.append((asked, 1))
    await tb.wait(20)
    assert tb.answers == {**dict.fromkeys(range(4), 0), NONE: KEY_BITS}
    # Neither do the reserved bits count.
    await tb.write(addr, entry(asked) | ((1 << 50) - 1) << 334)
    await tb.ask([asked])
    assert tb.answers[BYPASS] == 1
    tb.quiet()


@cocotb.test()
async def ways_actions_and_fields(dut):
    tb = Bench(dut)
    await tb.start()
    key = tb.random_key()
    for way in (0, 1):
        addr = await tb.insert(key, way, BLOCK)
        await tb.ask([key])
        assert tb.answers[BLOCK] == way + 1
        await tb.write(addr, 0)
    await tb.insert(key, 0, BYPASS)
    await tb.insert(key, 1, BLOCK)
    await tb.ask([key])
    assert tb.answers[BYPASS] == 1, "way 0 counts when both hit"
    await tb.write(2 * key_set(key, tb.sets_log2) + 1, 0)
    for fields in ({"valid": 0}, {"generation": 1}, {"generation": 128}, {"action": NONE},
                   {"action": 3}):  # fmt: skip
        await tb.insert(key, 0, **fields)
        await tb.ask([key])
    assert tb.answers[NONE] == 5 and tb.answers[BYPASS] == 1
    # An illegal action of way 0 does not let way 1 through either.
    await tb.insert(key, 1, BLOCK)
    await tb.ask([key])
    assert tb.answers[NONE] == 6
    tb.quiet()


@cocotb.test()
async def random_host_under_lookups(dut):
    """Inserts, removals, reads, flushes, clears; lookups at every rate; passes never err."""
    tb = Bench(dut)
    await tb.start()
    pool = [tb.random_key() for _ in range(max(6, min(40, 3 * tb.sets // 2)))]
    rate = 0.5

    def source() -> tuple[int, int] | None:
        if tb.rng.random() >= rate:
            return None
        key = tb.rng.choice(pool)
        if tb.rng.random() < 0.2:
            key ^= 1 << tb.rng.randrange(KEY_BITS)
        return key, int(tb.rng.random() < 0.9)

    tb.source = source
    for _ in range(500):
        rate = tb.rng.choice((0.0, 0.2, 0.6, 0.9, 1.0))
        kind = tb.rng.random()
        if kind < 0.6:
            key = tb.rng.choice(pool)
            await tb.insert(key, tb.rng.randrange(2), tb.rng.choice((BYPASS, BLOCK)))
        elif kind < 0.75:
            await tb.write(tb.rng.randrange(2 * tb.sets), 0)
        elif kind < 0.9:
            addr = tb.rng.randrange(2 * tb.sets)
            assert await tb.read(addr) == tb.table.read(addr)
        elif kind < 0.97:
            await tb.flush()
            for key in tb.rng.sample(pool, 4):
                await tb.insert(key, tb.rng.randrange(2))
        elif kind < 0.98:
            await tb.clear()
            await tb.ready()
            await tb.done()
        assert int(dut.sig.value) == tb.table.sig
        await tb.wait(tb.rng.choice((0, 3, 20)))
    rate = 0.3
    await tb.pass_end()
    assert tb.answers[BYPASS] > 300 and tb.answers[BLOCK] > 100 and tb.answers[NONE] > 1000
    assert tb.seen["pass_done"] >= (3 if tb.sets < 64 else 2)  # a pass of 1024 entries is long
    tb.quiet()


@cocotb.test()
async def flush_is_instant_and_wraps_into_a_clear(dut):
    tb = Bench(dut)
    await tb.start()
    keys = [tb.random_key() for _ in range(8)]
    for key in keys:
        await tb.insert(key, 0)
    await tb.ask(keys)
    hits = tb.answers[BYPASS]
    assert hits
    # Lookups every cycle, so that nothing below can count on a free one.
    tb.source = lambda: (tb.rng.choice(keys), 1)
    for turn in range(256):
        assert int(dut.table_ready.value)
        await tb.flush()
        if turn == 0:
            await tb.wait(LATENCY)  # what was under way may still hit, and is checked to
            hits = tb.answers[BYPASS]
        assert bool(int(dut.table_ready.value)) == (turn < 255)
        await tb.wait(4)
    assert tb.generation == 0
    cycles = await tb.ready()
    assert cycles <= 2 * tb.sets + 40, "a clear may not be starved"
    assert int(dut.sig.value) == 0
    for addr in range(2 * tb.sets):
        assert int(tb.cell(addr).value) == 0
    await tb.wait(50)
    assert tb.answers[BYPASS] == hits, "an entry of 256 flushes ago lived again"
    tb.source = lambda: None
    await tb.insert(keys[0], 1, BLOCK)
    await tb.ask(keys)
    assert tb.answers[BLOCK] == 1
    await tb.pass_end()
    tb.quiet()


@cocotb.test()
async def wrap_waits_for_the_hosts_command(dut):
    """The flush that wraps arrives at every offset of a write; the write is cleared too."""
    tb = Bench(dut)
    await tb.start()
    key = tb.random_key()
    for offset in range(0, 45, 2):
        for _ in range(255):
            await tb.flush()
        addr = 2 * key_set(key, tb.sets_log2)
        tb.writing = (addr, entry(key, generation=0))
        await tb.pulse(cmd_write=1, cmd_addr=addr, cmd_wdata=tb.writing[1])
        await tb.wait(offset)
        await tb.flush()
        tb.source = lambda: (key, 1)
        await tb.ready()
        await tb.done()
        tb.writing = None
        tb.table.clear()
        assert int(dut.sig.value) == 0, offset
        await tb.wait(20)
        tb.source = lambda: None
        assert not tb.answers[BYPASS]
        await tb.wait(20)
    tb.quiet()


@cocotb.test()
async def clear_under_full_traffic(dut):
    tb = Bench(dut)
    await tb.start()
    keys = [tb.random_key() for _ in range(8)]
    for _ in range(3):
        for key in keys:
            await tb.insert(key, tb.rng.randrange(2))
        tb.source = lambda: (tb.rng.choice(keys), 1)
        await tb.wait(30)
        await tb.clear()
        assert await tb.ready() <= 2 * tb.sets + 40
        assert int(dut.sig.value) == 0
        await tb.wait(30)
        tb.source = lambda: None
        await tb.done()
    await tb.pass_end()
    tb.quiet()


@cocotb.test()
async def one_wrong_bit_still_hits_and_is_mended(dut):
    """Every bit of an entry, first with no free cycle for the scrubber, then with."""
    tb = Bench(dut)
    await tb.start()
    flows: dict[int, int] = {}
    for set_ in range(tb.sets):
        for way in (0, 1):
            key = tb.random_key()
            while key_set(key, tb.sets_log2) != set_:
                key = tb.random_key()
            flows[await tb.insert(key, way, tb.rng.choice((BYPASS, BLOCK)))] = key
    bits = list(range(72 * WORDS))
    tb.rng.shuffle(bits)
    expected = 0
    for first in range(0, len(bits), len(flows)):
        batch = bits[first : first + len(flows)]
        tb.source = lambda: (tb.random_key(), 1)
        await tb.wait(40)  # the check under way stops for want of a free cycle
        addrs = tb.rng.sample(sorted(flows), len(batch))
        before = {a: tb.flip(a, bit) for a, bit in zip(addrs, batch, strict=True)}
        hits = tb.answers[BYPASS] + tb.answers[BLOCK]
        tb.keys.extend((flows[addr], 1) for addr in addrs)
        await tb.wait(len(addrs) + 15)
        assert tb.answers[BYPASS] + tb.answers[BLOCK] == hits + len(addrs)
        assert tb.seen["err_ce"] == expected
        tb.source = lambda: None
        await tb.pass_end()
        expected += len(batch)
        assert tb.seen["err_ce"] == expected
        for addr, code in before.items():
            assert int(tb.cell(addr).value) == code
    assert not tb.seen["err_ue"] and not tb.seen["err_crc"]


@cocotb.test()
async def two_wrong_bits_miss_and_are_told(dut):
    tb = Bench(dut)
    await tb.start()
    key = tb.random_key()
    addrs = [await tb.insert(key, 0, BYPASS), await tb.insert(key, 1, BLOCK)]
    for turn in range(20):
        tb.source = lambda: (tb.random_key(), 0)
        way = turn % 2
        word = tb.rng.randrange(WORDS)
        flips = [72 * word + bit for bit in tb.rng.sample(range(72), 2)]
        before = tb.flip(addrs[way], *flips)
        tb.broken.add(addrs[way])
        await tb.wait()
        base, told = tb.lookups_hit_broken, tb.seen["err_ue"]
        tb.source = lambda: (key, 1)  # no free cycle: only lookups can tell
        await tb.wait(30)
        assert tb.seen["err_ue"] > told
        tb.source = lambda: None
        await tb.wait(LATENCY + 4)
        assert tb.lookups_hit_broken > base
        assert (1 << 31 | addrs[way]) in tb.info
        tb.info.clear()
        # Looked for by the scrubber, and left as it is.
        await tb.pass_end()
        assert addrs[way] in tb.info
        tb.info.clear()
        tb.cell(addrs[way]).value = before
        tb.broken.clear()
        await tb.wait()
        await tb.ask([key])
    assert tb.answers[BYPASS] and tb.answers[BLOCK], "the other way serves meanwhile"
    assert not tb.seen["err_ce"]


@cocotb.test()
async def every_lookup_of_a_broken_set_is_told(dut):
    """One strobe for each lookup, none for keys that are not looked up."""
    tb = Bench(dut)
    await tb.start()
    key = tb.random_key()
    addr = await tb.insert(key, 0)
    tb.source = lambda: (tb.random_key() if tb.sets > 100 else key, 0)
    await tb.wait(20)
    tb.source = lambda: (key, 1)
    await tb.wait(40)
    tb.flip(addr, 3, 4)
    tb.broken.add(addr)
    await tb.wait(60)
    assert abs(tb.seen["err_ue"] - tb.lookups_hit_broken) <= LATENCY
    assert tb.seen["err_ue"] >= 40
    tb.flip(addr, 3, 4)
    tb.broken.clear()
    await tb.wait(20)
    assert tb.seen["err_ue"] in range(tb.lookups_hit_broken - 2, tb.lookups_hit_broken + 3)


@cocotb.test()
async def what_ecc_cannot_see_is_found_in_a_pass(dut):
    tb = Bench(dut)
    await tb.start()
    one, two = tb.random_key(), tb.random_key()
    while key_set(one, tb.sets_log2) == key_set(two, tb.sets_log2):
        two = tb.random_key()
    addr_one, addr_two = await tb.insert(one, 0), await tb.insert(two, 1)
    await tb.pass_end()
    tb.quiet()
    low = (1 << 72) - 1
    for wrong in (int(tb.cell(addr_two).value) & low, 0):
        before = int(tb.cell(addr_one).value)
        tb.cell(addr_one).value = before & ~low | wrong
        crc = tb.seen["err_crc"]
        await tb.pass_end()
        assert tb.seen["err_crc"] > crc
        tb.cell(addr_one).value = before
        await tb.pass_end()
    crc = tb.seen["err_crc"]
    await tb.pass_end()
    assert tb.seen["err_crc"] == crc
    await tb.pulse(inj_crc=1)
    await tb.pass_end(3)
    assert tb.seen["err_crc"] == crc + 1
    assert not tb.seen["err_ce"] and not tb.seen["err_ue"]


@cocotb.test()
async def lookups_every_cycle_starve_the_host_alone(dut):
    tb = Bench(dut)
    await tb.start()
    keys = [tb.random_key() for _ in range(8)]
    for key in keys:
        await tb.insert(key, 0, BLOCK)
    tb.source = lambda: (tb.rng.choice(keys), 1)
    await tb.wait(60)
    passes, hits = tb.seen["pass_done"], tb.answers[BLOCK]
    key = tb.random_key()
    tb.writing = (2 * key_set(key, tb.sets_log2) + 1, entry(key))
    await tb.pulse(cmd_write=1, cmd_addr=tb.writing[0], cmd_wdata=tb.writing[1])
    await tb.wait(1000)
    assert int(dut.busy.value) and tb.seen["pass_done"] == passes
    assert tb.answers[BLOCK] > hits + 100
    tb.source = lambda: (tb.rng.choice(keys), int(tb.rng.random() < 0.7))
    await tb.done()
    assert tb.table.read(tb.writing[0]) == tb.writing[1]
    tb.writing = None
    await tb.ask([key])
    assert tb.answers[BYPASS] == 1
    tb.quiet()


@cocotb.test()
async def commands_while_busy_are_refused(dut):
    tb = Bench(dut)
    await tb.start()
    key = tb.random_key()
    value = entry(key)
    for name in ("cmd_write", "cmd_read", "clear"):
        await tb.done()
        tb.writing = (2, value)
        await tb.pulse(cmd_write=1, cmd_addr=2, cmd_wdata=value)
        assert int(dut.busy.value) and not int(dut.cmd_error.value)
        await tb.pulse(**{name: 1, "cmd_addr": 3, "cmd_wdata": value})
        assert int(dut.cmd_error.value)
        await tb.done()
        tb.writing = None
        assert await tb.read(2) == value and not int(dut.cmd_error.value)
        assert await tb.read(3) == 0 and int(dut.table_ready.value)
    await tb.pulse(clear=1, cmd_write=1, cmd_addr=2, cmd_wdata=value)
    tb.table.clear()
    assert int(dut.cmd_error.value) and int(dut.busy.value)
    await tb.pulse(cmd_read=1, cmd_addr=2)
    assert int(dut.cmd_error.value), "refused while the clear waits"
    await tb.done()
    assert await tb.read(2) == 0 and not int(dut.cmd_error.value)
    assert int(dut.sig.value) == 0
    tb.quiet()


@cocotb.test()
async def resets_in_mid_traffic(dut):
    """pipe_rst forgets the keys under way and keeps the table; rst forgets that too."""
    tb = Bench(dut)
    await tb.start()
    keys = [tb.random_key() for _ in range(6)]
    for key in keys:
        await tb.insert(key, 0)
    tb.source = lambda: (tb.rng.choice(keys), 1)
    await tb.wait(30)
    tb.source = lambda: None
    dut.pipe_rst.value = 1
    await tb.wait(3)
    dut.pipe_rst.value = 0
    await tb.wait(20)
    hits = tb.answers[BYPASS]
    await tb.ask(keys)
    assert tb.answers[BYPASS] > hits
    await tb.flush()
    await tb.pulse(cmd_write=1, cmd_addr=0, cmd_wdata=entry(keys[0], generation=0))
    tb.source = lambda: (tb.rng.choice(keys), 1)
    await tb.wait(9)
    tb.source = lambda: None
    await tb.wait()
    dut.rst.value = 1
    await tb.wait(3)
    dut.rst.value = 0
    tb.generation = 0
    tb.table.clear()
    await tb.wait()
    assert not int(dut.table_ready.value) and not int(dut.generation.value)
    await tb.ready()
    await tb.done()
    assert int(dut.sig.value) == 0
    await tb.ask(keys)
    await tb.pass_end()
    tb.quiet()


@pytest.mark.parametrize("sets_log2", [3, pytest.param(1, marks=pytest.mark.full)])
def test_flow(sets_log2: int) -> None:
    """Every test at small tables, where a pass is short."""
    simulate("nsd_flow", __name__, parameters={"SETS_LOG2": sets_log2})


@pytest.mark.full
def test_flow_full_size() -> None:
    """The table of the ECP5 build."""
    simulate("nsd_flow", __name__, parameters={"SETS_LOG2": 9},
             testcase=["inserted_flows_hit_one_a_cycle", "random_host_under_lookups",
                       "flush_is_instant_and_wraps_into_a_clear"])  # fmt: skip


def test_set_of_the_golden_model() -> None:
    """Two ways to the same number, and one literal."""
    for key in (0, 1, 1 << 322, (1 << KEY_BITS) - 1, 0x123456789ABCDEF << 200):
        for sets_log2 in (1, 9, 15):
            assert key_set(key, sets_log2) == model.flow_set(key, sets_log2)
    # The register after a lone bit in byte 40 is the table's constant for that byte.
    assert key_set(1 << 320, 15) == 0x77073096 & 0x7FFF
