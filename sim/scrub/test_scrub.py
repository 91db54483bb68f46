"""nsd_scrub against a Python table: host access, signature, correction, what it must find."""

import cocotb
import pytest
from cocotb.triggers import FallingEdge

from sim.runner import simulate
from sim.scrub.bench import Bench
from sim.scrub.reference import contribution, payload


@cocotb.test()
async def reset_clears_the_table(dut):
    tb = Bench(dut)
    for addr in range(tb.entries):
        tb.cell(addr).value = tb.rng.getrandbits(72 * tb.words)
    await tb.start()
    assert int(dut.sig.value) == 0
    await tb.wait()  # a write that the table delays has landed
    assert [int(tb.cell(a).value) for a in range(tb.entries)] == [0] * tb.entries
    await tb.pass_end(2)
    assert tb.passes == [(0, 1, 1)] * 2
    tb.quiet()


@cocotb.test()
async def host_reads_what_it_wrote(dut):
    tb = Bench(dut)
    await tb.start()
    for step in range(150):
        tb.idle_rate = tb.rng.choice((1.0, 0.5, 0.1))
        addr = tb.rng.randrange(tb.entries)
        kind = tb.rng.random()
        if kind < 0.6:
            await tb.write(addr, tb.value())
        elif kind < 0.97:
            assert await tb.read(addr) == tb.table.read(addr), step
        else:
            await tb.pulse(cmd_clear=1)
            tb.table.clear()
            await tb.done()
        assert int(dut.sig.value) == tb.table.sig, step
        assert not int(dut.cmd_error.value)
        await tb.wait(tb.rng.randrange(12))
    for addr in range(tb.entries):
        assert payload(int(tb.cell(addr).value), tb.words) == tb.table.read(addr)
    tb.quiet()


@cocotb.test()
async def commands_while_busy_are_refused(dut):
    tb = Bench(dut)
    await tb.start()
    tb.idle_rate = 0.3
    for name in ("cmd_write", "cmd_read", "cmd_clear"):
        value = tb.rng.getrandbits(64 * tb.words)
        await tb.pulse(cmd_write=1, cmd_addr=1, cmd_wdata=value)
        tb.table.write(1, value)
        assert int(dut.busy.value) and not int(dut.cmd_error.value)
        await tb.pulse(**{name: 1, "cmd_addr": 2, "cmd_wdata": ~value & 0xFFFF})
        assert int(dut.cmd_error.value)
        await tb.done()
        assert int(dut.cmd_error.value), "the flag stays until a command is accepted"
        assert await tb.read(1) == value
        assert not int(dut.cmd_error.value)
        assert await tb.read(2) == tb.table.read(2)
    # Of several in one cycle the first of clear, write, read is done.
    value = tb.rng.getrandbits(64 * tb.words)
    await tb.pulse(cmd_write=1, cmd_read=1, cmd_addr=3, cmd_wdata=value)
    tb.table.write(3, value)
    assert int(dut.cmd_error.value)
    await tb.done()
    assert await tb.read(3) == value
    await tb.pulse(cmd_write=1, cmd_clear=1, cmd_addr=3, cmd_wdata=value)
    tb.table.clear()
    assert int(dut.cmd_error.value)
    await tb.done()
    assert await tb.read(3) == 0 and int(dut.sig.value) == 0
    tb.quiet()


@cocotb.test()
async def pass_signature_is_the_tables(dut):
    """And expect_sig is compared with it only while check_enable is high."""
    tb = Bench(dut)
    await tb.start(check=0, own=0)
    await tb.fill()
    await tb.set_extra()
    dut.expect_sig.value = tb.whole_sig
    await tb.fresh_pass()
    assert tb.passes[-1] == (tb.whole_sig, 1, 1)
    assert int(dut.sig.value) == tb.table.sig
    dut.expect_sig.value = tb.whole_sig ^ 1 << tb.rng.randrange(32)
    await tb.pass_end()
    assert tb.passes[-1] == (tb.whole_sig, 1, 0)
    assert not tb.count("err_crc")
    dut.check_enable.value = 1
    await tb.pass_end()
    assert tb.count("err_crc") == 1
    dut.expect_sig.value = tb.whole_sig
    await tb.pass_end()
    assert tb.count("err_crc") == 1 and tb.passes[-1][2]


@cocotb.test()
async def every_extra_bit_counts(dut):
    tb = Bench(dut)
    await tb.start(own=0)
    await tb.set_extra()
    width = 64 * tb.words
    for index in range(tb.extra):
        before = tb.extra_entries[index]
        tb.extra_entries[index] ^= 1 << tb.rng.randrange(width)
        dut.extra_data.value = sum(v << width * i for i, v in enumerate(tb.extra_entries))
        await tb.pulse(restart=1)
        await tb.pass_end()
        assert tb.passes[-1][0] == tb.whole_sig
        tb.extra_entries[index] = before
    dut.check_enable.value = 0


@cocotb.test()
async def writes_during_passes_never_err(dut):
    """Random writes, reads, clears and free cycles under running passes."""
    tb = Bench(dut)
    await tb.start()
    clean = 0
    for _ in range(350):
        tb.idle_rate = tb.rng.choice((1.0, 1.0, 0.6, 0.15))
        kind = tb.rng.random()
        addr = tb.rng.randrange(tb.entries)
        if kind < 0.85:
            await tb.write(addr, tb.value())
        elif kind < 0.97:
            assert await tb.read(addr) == tb.table.read(addr)
        else:
            await tb.pulse(cmd_clear=1)
            tb.table.clear()
            await tb.done()
        assert int(dut.sig.value) == tb.table.sig
        await tb.wait(tb.rng.choice((0, 1, 5, 30, 400)))
    tb.idle_rate = 1.0
    await tb.fresh_pass()
    assert tb.passes[-1] == (tb.table.sig, 1, 1)
    clean = sum(p[1] for p in tb.passes)
    assert len(tb.passes) > 20 and 0 < clean < len(tb.passes)
    assert all(p[2] for p in tb.passes)
    tb.quiet()


@cocotb.test()
async def any_single_bit_is_corrected(dut):
    tb = Bench(dut)
    await tb.start()
    await tb.fill()
    width = 72 * tb.words
    bits = list(range(width))
    tb.rng.shuffle(bits)
    expected: list[int] = []
    for first in range(0, width, tb.entries):
        batch = bits[first : first + tb.entries]
        addrs = tb.rng.sample(range(tb.entries), len(batch))
        before = {a: tb.flip(a, bit) for a, bit in zip(addrs, batch, strict=True)}
        expected += addrs
        await tb.wait()
        assert await tb.read(addrs[0]) == tb.table.read(addrs[0])
        await tb.fresh_pass()
        for addr, code in before.items():
            assert int(tb.cell(addr).value) == code, (addr, batch)
    assert sorted(tb.corrected) == sorted(expected)
    assert not tb.count("err_ue") and not tb.count("err_crc")
    # One bit in each word of one entry: one correction mends them all.
    before_all = tb.flip(1, *(72 * i + tb.rng.randrange(72) for i in range(tb.words)))
    await tb.fresh_pass()
    assert int(tb.cell(1).value) == before_all
    assert len(tb.corrected) == len(expected) + 1


@cocotb.test()
async def two_bits_are_uncorrectable_and_left_alone(dut):
    tb = Bench(dut)
    await tb.start()
    await tb.fill()
    for round_ in range(12):
        addr = tb.rng.randrange(tb.entries)
        word = tb.rng.randrange(tb.words)
        one, two = tb.rng.sample(range(64, 72) if round_ % 3 == 0 else range(72), 2)
        flips = [72 * word + one, 72 * word + two]
        if tb.words > 1 and round_ % 2:  # and a correctable one beside it
            flips.append(72 * ((word + 1) % tb.words) + tb.rng.randrange(72))
        before = tb.flip(addr, *flips)
        bad = before
        for bit in flips:
            bad ^= 1 << bit
        unread, crc = tb.count("err_ue"), tb.count("err_crc")
        await tb.fresh_pass()
        assert tb.count("err_ue") > unread and tb.unread[-1] == addr
        assert int(tb.cell(addr).value) == bad, "rewritten: the error would be hidden"
        assert not tb.passes[-1][2]
        if one >= 64 and two >= 64:
            assert tb.count("err_crc") == crc, "the data are intact"
        else:
            assert tb.count("err_crc") > crc
        unread = tb.count("err_ue")
        await tb.read(addr)
        assert tb.count("err_ue") > unread
        tb.cell(addr).value = before
        await tb.fresh_pass()
        assert tb.passes[-1][2]
    assert not tb.count("err_ce")


@cocotb.test()
async def what_ecc_cannot_see_fails_the_signature(dut):
    """A word or a whole entry of another address, an entry lost, three bits of a word."""
    tb = Bench(dut)
    await tb.start()
    await tb.fill()
    for round_ in range(24):
        one, two = tb.rng.sample(range(tb.entries), 2)
        before = {a: int(tb.cell(a).value) for a in (one, two)}
        low = (1 << 72) - 1
        if round_ % 4 == 0:  # another entry's word: valid, and in the wrong place
            tb.cell(one).value = before[one] & ~low | before[two] & low
        elif round_ % 4 == 1:
            tb.cell(one).value = before[two]
        elif round_ % 4 == 2:
            tb.cell(one).value = 0
        else:
            tb.flip(one, *tb.rng.sample(range(72), 3))
        await tb.wait(tb.rng.randrange(60))
        crc, ended, ue = tb.count("err_crc"), tb.count("pass_done"), tb.count("err_ue")
        await tb.fresh_pass()
        # Three bits look like one, or like none of the code's: then uncorrectable at once.
        assert tb.count("err_crc") > crc or tb.count("err_ue") > ue, round_
        assert tb.count("pass_done") - ended == 2 and not tb.passes[-1][2]
        for addr, code in before.items():
            tb.cell(addr).value = code
        await tb.fresh_pass()
        assert tb.passes[-1][2]


@cocotb.test()
async def corruption_rewritten_in_mid_pass_is_still_told(dut):
    """The host overwrites a silently changed entry: a lookup may have used it, so it is an error
    by the end of the next pass, and clearing heals it."""
    tb = Bench(dut)
    await tb.start()
    await tb.fill()
    await tb.pass_end()
    tb.cell(2).value = int(tb.cell(3).value)
    await tb.write(2, tb.value())
    await tb.fresh_pass()
    assert tb.count("err_crc")
    await tb.pulse(cmd_clear=1)
    await tb.done()
    tb.table.clear()
    crc = tb.count("err_crc")
    await tb.write(2, tb.value())
    await tb.fresh_pass()
    assert tb.count("err_crc") == crc and tb.passes[-1] == (tb.table.sig, 1, 1)


@cocotb.test()
async def correction_never_overwrites_a_newer_write(dut):
    """The write arrives at every offset around the check that corrects the entry."""
    tb = Bench(dut)
    await tb.start()
    await tb.fill()
    addr = tb.entries - 1
    corrections = 0
    for rate in (1.0, 0.5, 0.2):
        for offset in range(0, 2 * tb.words + 40):
            tb.idle_rate = 1.0
            await tb.pass_end()
            tb.flip(addr, tb.rng.randrange(72 * tb.words))
            while not (int(dut.rd_en.value) and int(dut.rd_addr.value) == addr - 1):
                await FallingEdge(tb.clk)
            tb.idle_rate = rate
            await tb.wait(offset)
            await tb.write(addr, tb.rng.getrandbits(64 * tb.words))
            assert payload(int(tb.cell(addr).value), tb.words) == tb.table.read(addr), offset
            await tb.wait(60)
            assert payload(int(tb.cell(addr).value), tb.words) == tb.table.read(addr), offset
    corrections = tb.count("err_ce")
    assert 10 < corrections < 3 * (2 * tb.words + 40), "both orders must have been met"
    tb.idle_rate = 1.0
    await tb.fresh_pass()
    assert not tb.count("err_crc") and not tb.count("err_ue")
    assert tb.passes[-1] == (tb.table.sig, 1, 1)


@cocotb.test()
async def without_idle_cycles_nothing_moves_and_nothing_errs(dut):
    tb = Bench(dut)
    await tb.start()
    await tb.fill()
    tb.idle_rate = 0.0
    await tb.wait(2)
    seen = dict(tb.seen)
    value = tb.value() | 2
    before = int(tb.cell(1).value)
    await tb.pulse(cmd_write=1, cmd_addr=1, cmd_wdata=value)
    tb.table.write(1, value)
    await tb.wait(1500)
    assert int(dut.busy.value) and tb.seen == seen
    assert int(tb.cell(1).value) == before
    tb.idle_rate = 0.02
    await tb.done()
    assert payload(int(tb.cell(1).value), tb.words) == value
    tb.idle_rate = 1.0
    await tb.fresh_pass()
    assert tb.passes[-1] == (tb.table.sig, 1, 1)
    tb.quiet()


@cocotb.test()
async def injection_trips_one_pass(dut):
    tb = Bench(dut)
    await tb.start()
    for round_ in range(6):
        if round_ == 3:
            await tb.fill()
        await tb.wait(tb.rng.randrange(300))
        crc = tb.count("err_crc")
        await tb.pulse(inj_crc=1)
        if round_ % 2:  # a pass that is begun anew forgets nothing
            await tb.wait(40)
            await tb.pulse(restart=1)
        await tb.pass_end(4)
        assert tb.count("err_crc") == crc + 1
        assert tb.passes[-1] == (tb.table.sig, 1, 1)
    assert not tb.count("err_ce") and not tb.count("err_ue")


@cocotb.test()
async def restart_begins_a_whole_pass(dut):
    """No pass_done of an older pass comes behind it, and the first one covers everything."""
    tb = Bench(dut)
    await tb.start()
    await tb.fill()
    await tb.pass_end()
    length = tb.count("rd_en")
    await tb.pass_end()
    assert tb.count("rd_en") - length == tb.entries
    for wait in range(0, 400, 7):
        await tb.wait(wait)
        await tb.pulse(restart=1)
        await tb.wait(2)
        reads, ended = tb.count("rd_en"), tb.count("pass_done")
        await tb.pass_end()
        assert tb.count("rd_en") - reads >= tb.entries - 1
        assert tb.count("pass_done") == ended + 1
        assert tb.passes[-1] == (tb.table.sig, 1, 1)
    # A write before the restart does not stain the pass behind it; one within it does.
    await tb.write(0, 5)
    await tb.pulse(restart=1)
    await tb.pass_end()
    assert tb.passes[-1] == (tb.table.sig, 1, 1)
    await tb.write(1, 6)
    await tb.pass_end()
    assert tb.passes[-1] == (tb.table.sig, 0, 1)
    # A write that waits while the pass begins anew counts in the new one alone.
    for turn in range(60):
        await tb.wait(tb.rng.randrange(40, 20 * tb.entries))
        addr, value = tb.rng.randrange(tb.entries), tb.value()
        await tb.pulse(cmd_write=1, cmd_addr=addr, cmd_wdata=value, restart=turn & 1)
        tb.table.write(addr, value)
        if not turn & 1:
            await tb.wait(tb.rng.randrange(20))
            await tb.pulse(restart=1)
        await tb.done()
        await tb.pass_end()
        assert tb.passes[-1][0] == tb.table.sig
    tb.quiet()


@cocotb.test()
@cocotb.parametrize(name=["rd_ce_any", "rd_ue_any", "rd_differs"])
async def other_copies_are_heard_in_their_cycle(dut, name):
    """The status is taken exactly READ_LATENCY + STATUS_LATENCY after rd_en, else ignored."""
    tb = Bench(dut)
    delay = 2 + tb.late + int(dut.STATUS_LATENCY.value)
    await tb.start()
    await tb.fill()
    signal = getattr(dut, name)
    right = True

    async def drive() -> None:
        line: list[int] = []
        while True:
            line.append(int(dut.rd_en.value) and int(dut.rd_addr.value) == 2)
            due = line[-1 - delay] if len(line) > delay else 0
            signal.value = int(bool(due) == right)
            await FallingEdge(tb.clk)

    cocotb.start_soon(drive())
    right = False
    await tb.pass_end(2)
    base = dict(tb.seen)
    await tb.pass_end(2)
    wrong = {k: tb.count(k) - base.get(k, 0) for k in ("err_crc", "err_ce", "err_ue")}
    right = True
    await tb.pass_end()
    base, corrected = dict(tb.seen), len(tb.corrected)
    await tb.pass_end()
    heard = {k: tb.count(k) - base.get(k, 0) for k in ("err_crc", "err_ce", "err_ue")}
    expected = {"rd_ce_any": "err_ce", "rd_ue_any": "err_ue", "rd_differs": "err_crc"}[name]
    assert heard == {k: int(k == expected) for k in heard}
    if name == "rd_ce_any":
        assert tb.corrected[corrected:] == [2]
        assert tb.passes[-1][2]
    else:
        assert not tb.passes[-1][2]
    # At every other address of two passes, but not at address 2.
    others = 2 if name == "rd_differs" else 2 * (tb.entries - 1)
    assert wrong[expected] == others
    assert payload(int(tb.cell(2).value), tb.words) == tb.table.read(2)


@cocotb.test()
async def contribution_is_the_documented_one(dut):
    """Against literal values, so that model and hardware cannot err alike."""
    assert contribution(5, 0, 1) == 0
    tb = Bench(dut)
    await tb.start()
    await tb.write(3, 0x0807060504030201)
    # zlib.crc32(bytes([3, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8]) + bytes(8 * (words - 1)))
    literal = {1: 0x56A34333, 2: 0x3358BD38, 6: 0xCD0B1142}
    assert int(dut.sig.value) == literal[tb.words]


VARIANTS = {
    "entries": {"WORDS": 6, "DEPTH_LOG2": 4},
    "buckets": {"WORDS": 1, "DEPTH_LOG2": 4, "EXTRA": 17, "LATE": 1, "STATUS_LATENCY": 4},
    "small": {"WORDS": 2, "DEPTH_LOG2": 2, "EXTRA": 3, "STATUS_LATENCY": 8},
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_scrub(variant: str) -> None:
    """Every test at the flow table's shape, the prefilter's, and a small odd one."""
    simulate("scrub_bench", __name__, parameters=VARIANTS[variant],
             sources=["sim/scrub/scrub_bench.sv", "nsd_scrub"])  # fmt: skip
